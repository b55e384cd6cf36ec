//! A TCP line that can be cut: stands between the forwarder and the broker.

use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Passes bytes both ways until it is cut.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    refuses: bool,
    lines: Vec<AbortHandle>,
}

impl Proxy {
    /// A proxy to this loopback port.
    pub(crate) async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = shared.lock().expect("not poisoned");
                if state.refuses {
                    continue;
                }
                let line = lines.spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", to)).await.expect("the broker listens");
                    let _ = near.set_nodelay(true);
                    let _ = far.set_nodelay(true);
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
                state.lines.push(line);
            }
        });
        Proxy { port, state }
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Breaks what is connected.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().expect("not poisoned");
        state.lines.drain(..).for_each(|line| line.abort());
    }

    /// Breaks what is connected, and lets nobody through (or everybody again).
    pub(crate) fn refuse(&self, refuses: bool) {
        self.state.lock().expect("not poisoned").refuses = refuses;
        if refuses {
            self.cut();
        }
    }
}
