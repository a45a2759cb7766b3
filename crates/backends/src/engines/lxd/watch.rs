//! A stream of events that notices when the server is gone although the connection has not been closed: the machine
//! lost its power, a cable was pulled, the daemon hangs.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::websocket::{Message, Socket};

/// After so much silence the server is asked whether it is there; after twice as much it is not.
const SILENCE: Duration = Duration::from_secs(20);
/// Time for a message to be sent.
const SEND: Duration = Duration::from_secs(5);

/// Servers ask for a sign of life as soon as they have begun to listen; one that does not is not waited for any longer.
const REGISTERED: Duration = Duration::from_secs(2);

/// A watched websocket.
#[derive(Debug)]
pub(super) struct Watched {
    socket: Socket,
    heard: Instant,
    asked: bool,
    early: Option<Message>,
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
        Watched { socket, heard: Instant::now(), asked: false, early: None }
    }

    /// Waits until the server has begun to listen for us, which it has when the first sign of life comes; some time after
    /// it took the connection.
    pub(super) async fn registered(mut self) -> Self {
        if let Ok(Some(Ok(message))) = timeout(REGISTERED, self.socket.reader.sign_of_life()).await {
            self.early = message;
        }
        // That the connection is broken shows again.
        self
    }

    /// Waits for a message, at most `patience`. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self, patience: Duration) -> Heard {
        if let Some(message) = self.early.take() {
            return Heard::Message(message);
        }
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
