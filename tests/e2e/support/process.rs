//! Programs that a test runs: to their end, or for as long as it holds them. And how it waits for what they do.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How a program ended and what it printed.
#[derive(Debug)]
pub(crate) struct Finished {
    command: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// What it printed, of a program that must succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }

    /// The same, of a program that must not even warn.
    #[track_caller]
    pub(crate) fn silent(self) -> String {
        assert!(self.status.success() && self.stderr.is_empty(), "{self}");
        self.stdout
    }

    /// What it complained about, of a program that must fail.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(!self.status.success(), "{self}");
        self.stderr
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nended with {}\n{}{}", self.command, self.status, self.stdout, self.stderr)
    }
}

/// Runs a program to its end, with nothing on its standard input.
pub(crate) fn finish(command: &mut Command) -> Finished {
    finish_with(command, "")
}

/// Runs a program to its end, with `input` on its standard input.
pub(crate) fn finish_with(command: &mut Command, input: &str) -> Finished {
    let text = format!("{command:?}");
    let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // In a thread of its own: a program that prints before it has read everything would block, and so would we. Where it
    // ends without reading, the write fails and nothing is lost.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Finished { command: text, status: output.status, stdout, stderr }
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

/// A running program. It ends, by its pid, when this is dropped, also when the test fails; then the end of its log is shown.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program that writes what it prints to the end of the file `log`. The kernel kills it when the thread that started it ends in whatever way, also when the whole test is killed.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(name, value),
                None => bound.env_remove(name),
            };
        }
        let child = spawn(bound.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file));
        Self { child, log: log.to_owned() }
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        finish(Command::new("kill").args(["-s", name, &self.child.id().to_string()])).ok();
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Its resident memory, KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let figure = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        figure.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What its admin endpoint answers at a path, such as `/readyz`: the status and the text. Nothing where it does not answer.
    pub(crate) async fn admin(&self, path: &str) -> Option<(u16, String)> {
        let printed = self.printed();
        let line = printed.lines().rfind(|line| line.contains("The admin endpoint answers."))?;
        let address = line.split("address=").nth(1)?.split_whitespace().next()?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let answer = client.get(format!("http://{address}{path}")).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// One figure of its `/metrics`: the sum of all series whose line begins so.
    pub(crate) async fn figure(&self, series: &str) -> Option<f64> {
        let (_, text) = self.admin("/metrics").await?;
        let lines = text.lines().filter(|line| line.starts_with(series));
        Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// All that it has printed.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            show_end(&self.log);
        }
    }
}

/// Shows the last lines of a log.
pub(crate) fn show_end(log: &Path) {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("---- the end of {}\n{}", log.display(), lines.get(lines.len().saturating_sub(50)..).unwrap_or_default().join("\n"));
}

/// Asks until there is an answer, and fails after `limit`. `what` completes "waited in vain until".
pub(crate) async fn wait_until<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(limit, asking).await.unwrap_or_else(|_| panic!("waited in vain until {what}, for {limit:?}"))
}

mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_program_gets_its_input_and_gives_its_output_however_long() {
        let long = "line\n".repeat(100_000);
        assert_eq!(finish_with(&mut Command::new("cat"), &long).silent(), long);
        assert_eq!(finish(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).refused(), "no\n");
    }

    #[tokio::test]
    async fn a_program_is_gone_with_whoever_held_it() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::start(Command::new("sh").args(["-c", "echo started; exec sleep 600"]), &folder.path().join("log"));
        wait_until("it has printed", Duration::from_secs(10), async || program.printed().contains("started").then_some(())).await;
        let process = PathBuf::from(format!("/proc/{}", program.child.id()));
        assert!(process.exists());
        drop(program);
        assert!(!process.exists());
    }

    #[tokio::test]
    async fn a_program_ends_with_the_thread_that_started_it_however_that_ends() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        // As a test that is killed, it does not get to drop the program.
        let started = thread::spawn(move || std::mem::ManuallyDrop::new(Program::start(Command::new("sleep").arg("600"), &log)).child.id()).join().unwrap();
        let state = || fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        // Nobody has waited for it: what is left is a zombie.
        wait_until("it has ended", Duration::from_secs(10), async || (!state().contains("(sleep)") || state().contains(" Z ")).then_some(())).await;
    }

    #[tokio::test]
    async fn a_signal_reaches_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::start(Command::new("sleep").arg("600"), &folder.path().join("log"));
        program.signal("TERM");
        let ended = wait_until("it has ended", Duration::from_secs(10), async || program.ended()).await;
        assert_eq!(ended.signal(), Some(15));
        program.kill();
    }

    #[tokio::test]
    #[should_panic(expected = "waited in vain until pigs fly")]
    async fn waiting_ends_and_says_for_what() {
        wait_until("pigs fly", Duration::from_millis(1), async || None::<()>).await;
    }
}
