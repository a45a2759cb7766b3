//! A way to a server that goes down and comes up again, under one port.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) struct Way {
    pub(crate) port: u16,
    task: Option<JoinHandle<()>>,
}

impl Way {
    /// Up, and leads to `target`.
    pub(crate) async fn to(target: u16) -> Way {
        let mut way = Way { port: 0, task: None };
        way.up(target).await;
        way
    }

    /// Leads to `target` from now on.
    pub(crate) async fn up(&mut self, target: u16) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let target = SocketAddr::from(([127, 0, 0, 1], target));
        self.task = Some(tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        }));
    }

    /// Ends all connections; new ones are refused when this returns.
    pub(crate) async fn down(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }
}
