//! What the stories of kills share: a host with its servers and the quarantine of it, and the writes that an operator was seen to make about them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sidestep::api::HostQuarantine;
use sidestep::api::quarantine::Phase;
use sidestep::simulator::{Settings, VmState};
use uuid::Uuid;

use super::super::support::cloud::{Cloud, Simulated};
use super::super::support::world::{CLOUD, LIMIT, World, phase_of, until};
use super::{NOVA, SIDES};

/// Hosts that servers go to.
const SPARES: usize = 3;

/// What a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// It makes an object, whose name is not in the path.
    New,
    /// The alert, or the quarantine, whose name begins with the host's.
    Host,
    Service,
    Server(usize),
}

/// One write: the word for it, what it is about, and the how-manieth of its kind about it.
pub(super) type Write = (String, About, usize);

/// A host with its servers, and the quarantine of it.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) host: String,
    pub(super) quarantine: String,
    service: String,
    pub(super) servers: Vec<Uuid>,
}

impl Scene {
    /// Puts a host into service and its servers on it.
    pub(super) async fn set(world: &World, number: usize, servers: &[VmState]) -> Self {
        let host = format!("src-{number}");
        let simulator = world.simulator();
        simulator.enable(&host).await;
        let boot = |(index, state): (usize, &VmState)| simulator.boot(&format!("{host}-{index}"), &host, *state);
        let servers = servers.iter().enumerate().map(boot).collect();
        let service = simulator.cloud(|cloud| cloud.host(&host).map(|host| host.service_id.to_string())).unwrap();
        Self { quarantine: format!("{host}-q"), host, service, servers }
    }

    /// A part of the name or path of what a write is about.
    fn part(&self, about: About) -> String {
        match about {
            About::New => String::new(),
            About::Host => format!("{}-", self.host),
            About::Service => self.service.clone(),
            About::Server(index) => self.servers[index].to_string(),
        }
    }

    fn about(&self, text: &str) -> Option<About> {
        let abouts = [About::Host, About::Service].into_iter().chain((0..self.servers.len()).map(About::Server));
        if text.is_empty() { Some(About::New) } else { abouts.into_iter().find(|about| text.contains(&self.part(*about))) }
    }

    /// Where an operator is to be killed, in the words of `--crash-at`.
    pub(super) fn point(&self, side: &str, (word, about, nth): &Write) -> String {
        format!("{side}-{word}@{}#{nth}", self.part(*about))
    }

    pub(super) async fn begin(&self, world: &World) {
        let spec = json!({"cloud": CLOUD, "host": self.host, "mode": "Enforce", "scope": "Maintenance", "reason": "x", "deadline": "10m"});
        world.create::<HostQuarantine>(&self.quarantine, spec).await;
    }

    pub(super) async fn is_in(&self, world: &World, phase: Phase) -> bool {
        phase_of(&world.get::<HostQuarantine>(&self.quarantine).await) == Some(phase)
    }

    pub(super) async fn ends_in(&self, world: &World, phase: Phase) {
        let what = format!("{} is {}", self.quarantine, phase.as_str());
        until(&what, LIMIT * 4, async || if self.is_in(world, phase).await { Ok(()) } else { Err(world.cloud.describe()) }).await;
    }

    /// How often the service of the host was written.
    pub(super) fn service_writes(&self, world: &World) -> usize {
        world.simulator().service_writes().iter().filter(|service| **service == self.service).count()
    }
}

/// The writes that an operator at debug level has printed from a line on, about a scene; Events, the Lease and the cloud's own status apart.
pub(super) fn writes_about(scene: &Scene, printed: &str, from: usize) -> Vec<Write> {
    let mut counts = BTreeMap::new();
    let mut writes = Vec::new();
    for line in printed.lines().skip(from).filter(|line| line.contains("A write goes out.")) {
        let field = |name: &str| line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let (word, about) = (field("write"), scene.about(field("about")));
        let Some(about) = about.filter(|_| !word.ends_with("-events") && !word.ends_with("-leases")) else { continue };
        let count = counts.entry((word.to_owned(), about)).or_insert(0);
        *count += 1;
        writes.push((word.to_owned(), about, *count));
    }
    writes
}

/// The writes that are worth a kill: all up to the last one to Nova and what is written of its answer; of those after that, which only say how it went on, the last about each thing.
///
/// The request for a move and the intent before it come first: who is killed between the two must wait for a minute, which the others use.
pub(super) fn worth_a_kill(writes: &[Write]) -> Vec<Write> {
    let last_to_nova = writes.iter().rposition(|(word, ..)| NOVA.iter().any(|(_, nova, _)| nova == word)).unwrap();
    let is_last = |index: usize| !writes[index + 1..].iter().any(|(word, about, _)| (word, about) == (&writes[index].0, &writes[index].1));
    let mut worth: Vec<Write> =
        writes.iter().enumerate().filter(|(index, _)| *index <= last_to_nova + 1 || is_last(*index)).map(|(_, write)| write.clone()).collect();
    let request = worth.iter().position(|(word, ..)| word.ends_with("-migrate")).unwrap_or(1);
    worth.rotate_left(request - 1);
    worth
}

/// An installation with many hosts, all but the spare ones out of service, and no operator; `spec` is laid over that of the cloud.
pub(super) async fn world(hosts: usize, spec: Value) -> World {
    let names = (0..hosts).map(|number| format!("src-{number}")).chain((0..SPARES).map(|number| format!("spare-{number}"))).collect();
    let simulator = Simulated::start(Settings { hosts: names, speed: 200.0, ..Settings::default() }).await;
    for number in 0..hosts {
        simulator.disable(&format!("src-{number}"), "not yet").await;
    }
    let all = hosts + SPARES;
    let world = World::bare(Cloud::Simulator(simulator)).await;
    world.create_secret(CLOUD, &world.cloud.clouds_yaml()).await;
    let mut whole = json!({"budget": {"hostsOutOfService": all, "percentOutOfService": 100}, "concurrency": {"total": all}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    world.create_cloud(CLOUD, whole).await;
    world
}

/// Waits until the operator has killed itself, or what was begun has ended without that; says which.
pub(super) async fn killed(world: &mut World, point: &str, ended: impl AsyncFn(&World) -> bool) -> bool {
    let mut dead = false;
    until(&format!("the operator has ended at {point}, or all has"), LIMIT * 4, async || {
        dead = world.operator_has_ended();
        if dead || ended(world).await { Ok(()) } else { Err("it goes on".to_owned()) }
    })
    .await;
    if !dead {
        println!("not reached: {point}");
        world.kill_operator();
    }
    dead
}

/// The kills of a story: where each operator ended.
#[derive(Debug, Default)]
pub(super) struct Kills(pub(super) BTreeSet<String>);

impl Kills {
    /// Notes that an operator was killed here.
    pub(super) fn note(&mut self, side: &str, word: &str) {
        self.0.insert(format!("{side}-{word}"));
    }

    /// Fails unless all of these were reached on both sides.
    pub(super) fn assert_all(&self, writes: &[Write]) {
        let all: BTreeSet<String> = writes.iter().flat_map(|(word, ..)| SIDES.map(|side| format!("{side}-{word}"))).collect();
        assert_eq!(self.0, all);
    }
}
