//! A link to a node's Redis that carries little: every answer takes its time, or one that is too large breaks the connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::super::super::address::Address;
use super::super::super::client::Client;
use super::node::Node;

/// How little.
#[derive(Clone, Copy, Debug)]
pub(in crate::engines::core0) struct Narrow {
    /// How long an answer is under way.
    pub(in crate::engines::core0) delay: Duration,
    /// More bytes than this, before something else is asked, break the connection.
    pub(in crate::engines::core0) most: usize,
}

/// It listens until it is dropped.
pub(in crate::engines::core0) struct Link {
    address: String,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    pub(in crate::engines::core0) async fn to(node: &Node, narrow: Narrow) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let socket = node.socket().to_owned();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let redis = UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(serve(client, redis, narrow));
            }
        });
        Link { address, task: task.abort_handle() }
    }

    pub(in crate::engines::core0) fn client(&self) -> std::sync::Arc<Client> {
        let uri = format!("core0+redis://{}", self.address).parse().unwrap();
        Client::new(Address::read(&uri, &roadstead_core::ConnectOptions::default()).unwrap())
    }
}

/// Passes on what both say, until one of them ends or an answer is too large.
async fn serve(mut client: TcpStream, mut redis: UnixStream, narrow: Narrow) {
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut length = 0;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(1..) = read else { return };
                length = 0;
                if redis.write_all(&asked[..read.unwrap()]).await.is_err() {
                    return;
                }
            }
            read = redis.read(&mut answered) => {
                let Ok(1..) = read else { return };
                let read = read.unwrap();
                if length == 0 {
                    sleep(narrow.delay).await;
                }
                length += read;
                if length > narrow.most || client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
