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
    shared: Mutex<Option<(MultiplexedConnection, Instant)>>,
}

impl RedisLink {
    /// `url` is `unix:/path`, or any that the `redis` crate takes.
    pub(crate) fn new(url: &str, password: Option<&str>) -> RedisResult<Self> {
        let mut info = url.into_connection_info()?;
        if let Some(password) = password {
            info = info.set_redis_settings(RedisConnectionInfo::default().set_password(password));
        }
        Ok(RedisLink { client: Client::open(info)?, shared: Mutex::default() })
    }

    /// A connection of one's own, as soon as there is a Redis that answers: one that reads its lists in again does not yet.
    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        let mut told = false;
        loop {
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let tried = async {
                let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
                redis::cmd("PING").query_async::<()>(&mut connection).await?;
                RedisResult::Ok(connection)
            };
            match tried.await {
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

    /// The shared connection, which answered just now.
    async fn connection(&self) -> MultiplexedConnection {
        let mut shared = self.shared.lock().await;
        if let Some((connection, used)) = &mut *shared {
            if used.elapsed() < FRESH {
                return connection.clone();
            }
            if redis::cmd("PING").query_async::<()>(connection).await.is_ok() {
                *used = Instant::now();
                return connection.clone();
            }
        }
        let connection = self.connect().await;
        *shared = Some((connection.clone(), Instant::now()));
        connection
    }

    /// Sends commands, once: what was cut off may have happened, and is not sent again.
    pub(crate) async fn send<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        let mut connection = self.connection().await;
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
