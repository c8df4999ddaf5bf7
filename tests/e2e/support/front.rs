//! What stands between a client and its cloud: a front that speaks TLS, as before most clouds, and a trap on an address to which nothing must be sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The authority that signed the front's certificate.
pub(crate) const AUTHORITY: &str = include_str!("../../fixtures/tls/ca.pem");

/// A front that speaks TLS and hands on what it hears. It ends when dropped.
#[derive(Debug)]
pub(crate) struct TlsFront {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl TlsFront {
    /// Before this address.
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(include_bytes!("../../fixtures/tls/server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../fixtures/tls/server.key")).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // A client that does not trust the certificate ends the handshake.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut target = TcpStream::connect(target).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut target).await;
                });
            }
        });
        Self { address, _serving: serving }
    }

    /// Its URL, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// An address that counts who comes.
#[derive(Debug)]
pub(crate) struct Trap {
    address: SocketAddr,
    caught: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl Trap {
    /// Sets one.
    pub(crate) async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let caught = Arc::new(AtomicUsize::new(0));
        let count = caught.clone();
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, caught, _listening: listening }
    }

    /// Its URL, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many have come.
    pub(crate) fn caught(&self) -> usize {
        self.caught.load(Ordering::Relaxed)
    }
}
