//! The node's connections to its Redis, which may go away and come back.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisResult,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// A connection that was of use so lately is not tried out first.
const FRESH: Duration = Duration::from_millis(20);

/// One Redis, and one connection to it that everybody shares.
pub(crate) struct RedisLink {
    client: Client,
    /// Whether what is sent waits for a Redis that is away, on a connection that was tried out; else it is lost.
    holds: bool,
    shared: Mutex<Option<(MultiplexedConnection, Instant)>>,
}

impl RedisLink {
    /// `url` is `unix:/path`, or any that the `redis` crate takes.
    pub(crate) fn new(url: &str, password: Option<&str>, holds: bool) -> RedisResult<Self> {
        let mut info = url.into_connection_info()?;
        if let Some(password) = password {
            info = info.set_redis_settings(RedisConnectionInfo::default().set_password(password));
        }
        Ok(RedisLink { client: Client::open(info)?, holds, shared: Mutex::default() })
    }

    /// A connection of one's own, as soon as there is a Redis that answers: one that reads its lists in again does not yet.
    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        let mut told = false;
        loop {
            match self.try_to_connect().await {
                Ok(connection) => return connection,
                Err(error) if !told => {
                    eprintln!("core0: Redis: {error}");
                    told = true;
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_to_connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }

    /// The shared connection, which answered just now where things are held.
    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut shared = self.shared.lock().await;
        if let Some((connection, used)) = &mut *shared {
            if !self.holds || used.elapsed() < FRESH {
                return Ok(connection.clone());
            }
            if redis::cmd("PING").query_async::<()>(connection).await.is_ok() {
                *used = Instant::now();
                return Ok(connection.clone());
            }
        }
        let connection = if self.holds { self.connect().await } else { self.try_to_connect().await? };
        *shared = Some((connection.clone(), Instant::now()));
        Ok(connection)
    }

    /// Sends commands, once: what was cut off may have happened, and is not sent again.
    pub(crate) async fn send<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        let mut connection =
            self.connection().await.inspect_err(|error| eprintln!("core0: Redis: {error}; dropped"))?;
        let answer = commands.query_async(&mut connection).await;
        if let Err(error) = &answer {
            eprintln!("core0: Redis: {error}");
            if error.is_unrecoverable_error() || error.is_io_error() {
                *self.shared.lock().await = None;
            }
        }
        answer
    }
}
