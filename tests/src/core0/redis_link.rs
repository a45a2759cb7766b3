//! The node's connections to its Redis, which may go away and come back.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, Pipeline, RedisResult};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep};

/// Between two tries to connect, as long as a node waits between two tries to take a command.
const PAUSE: Duration = Duration::from_millis(200);
/// A connection that was of use so lately is not tried out first.
const FRESH: Duration = Duration::from_millis(20);
/// Connections of which each is used for what is sent at one time.
const POOL: usize = 20;

/// What becomes of what is sent while the Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenAway {
    /// It is lost, and nothing else is: what is sent goes once, over a connection that works. So a node of G3 does it, whose
    /// pool tests what it lends and, since it may keep none idle, even dials for every command.
    Drop,
    /// It waits for the Redis to be back: kinder than a node of G3.
    Hold,
    /// It is lost, and so is what finds out later that the connection broke, which nobody tested: harsher than a node of G3.
    Blind,
}

impl WhenAway {
    pub(crate) fn named(text: &str) -> Option<Self> {
        match text {
            "drop" => Some(WhenAway::Drop),
            "hold" => Some(WhenAway::Hold),
            "blind" => Some(WhenAway::Blind),
            _ => None,
        }
    }
}

/// One Redis, and the ways to it.
pub(crate) struct RedisLink {
    client: Client,
    when_away: WhenAway,
    places: Semaphore,
    /// The connection that all share where none is made for each.
    shared: Mutex<Option<(MultiplexedConnection, Instant)>>,
}

impl RedisLink {
    /// `url` is `unix:/path`, or any that the `redis` crate takes.
    pub(crate) fn new(url: &str, password: Option<&str>, when_away: WhenAway) -> RedisResult<Self> {
        let info = url.into_connection_info()?;
        // A node's connections do not say who they are.
        let mut settings = info.redis_settings().clone().set_skip_set_lib_name();
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        let client = Client::open(info.set_redis_settings(settings))?;
        Ok(RedisLink { client, when_away, places: Semaphore::new(POOL), shared: Mutex::default() })
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
        let mut connection = self.dial().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }

    async fn dial(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// The shared connection, which answered just now where things are held.
    async fn shared(&self) -> RedisResult<MultiplexedConnection> {
        let holds = self.when_away == WhenAway::Hold;
        let mut shared = self.shared.lock().await;
        if let Some((connection, used)) = &mut *shared {
            if !holds || used.elapsed() < FRESH {
                return Ok(connection.clone());
            }
            if redis::cmd("PING").query_async::<()>(connection).await.is_ok() {
                *used = Instant::now();
                return Ok(connection.clone());
            }
        }
        let connection = if holds { self.connect().await } else { self.try_to_connect().await? };
        *shared = Some((connection.clone(), Instant::now()));
        Ok(connection)
    }

    /// Sends commands, once: what was cut off may have happened, and is not sent again.
    ///
    /// # Errors
    /// For whoever sent it to log: as far as this goes, it is lost.
    pub(crate) async fn send<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        if self.when_away == WhenAway::Drop {
            let _place = self.places.acquire().await;
            return commands.query_async(&mut self.dial().await?).await;
        }
        let answer = commands.query_async(&mut self.shared().await?).await;
        if let Err(error) = &answer
            && (error.is_unrecoverable_error() || error.is_io_error())
        {
            *self.shared.lock().await = None;
        }
        answer
    }
}
