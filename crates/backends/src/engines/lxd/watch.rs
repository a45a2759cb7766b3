//! A stream of events that notices when the server is gone although the connection has not been closed: the machine
//! lost its power, a cable was pulled, the daemon hangs.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::websocket::{Message, Socket};

/// After so much silence the server is asked whether it is there; after twice as much it is not.
const SILENCE: Duration = Duration::from_secs(20);
/// Time for a message to be sent.
const SEND: Duration = Duration::from_secs(5);

/// A watched websocket.
#[derive(Debug)]
pub(super) struct Watched {
    socket: Socket,
    heard: Instant,
    asked: bool,
}

/// What came within the time.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message.
    Message(Message),
    /// Nothing to be handed on.
    Nothing,
    /// The connection is no more.
    Broken,
}

impl Watched {
    /// From now on.
    pub(super) fn new(socket: Socket) -> Self {
        Watched { socket, heard: Instant::now(), asked: false }
    }

    /// Waits for a message, at most `patience`. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self, patience: Duration) -> Heard {
        match timeout(patience, self.socket.reader.sign_of_life()).await {
            Ok(Some(Ok(message))) => {
                self.heard = Instant::now();
                self.asked = false;
                message.map_or(Heard::Nothing, Heard::Message)
            }
            Ok(_) => Heard::Broken,
            Err(_) => {
                let silence = self.heard.elapsed();
                if silence > SILENCE * 2 {
                    return Heard::Broken;
                }
                if silence > SILENCE && !self.asked {
                    self.asked = true;
                    if !matches!(timeout(SEND, self.socket.writer.ping()).await, Ok(Ok(()))) {
                        return Heard::Broken;
                    }
                }
                Heard::Nothing
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        // Whether it arrives or not: the connection ends.
        let _ = timeout(SEND, self.socket.writer.close()).await;
    }
}
