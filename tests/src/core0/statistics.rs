//! Measurements over time: what jobs print at level 10, and the node's own, averaged over five minutes and over an hour.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisResult};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::arguments::Fields;
use super::builtins::Failure;
use super::engine::{Statistic, Tag};
use super::message;
use super::redis_link::RedisLink;

/// Seconds over which values are averaged.
const PERIODS: [i64; 2] = [300, 3600];
/// Finished periods that are remembered.
const HISTORY: usize = 5;
/// A metric that nobody fed for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// One period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sample {
    avg: f64,
    total: f64,
    max: f64,
    count: u64,
    /// Seconds since 1970; 0 before the first value.
    start: i64,
}

impl Sample {
    /// Takes a value; the sample as it was, when another period has begun.
    fn feed(&mut self, value: f64, now: i64, period: i64) -> Option<Sample> {
        let start = now / period * period;
        if start != 0 && self.start < start {
            let finished = std::mem::replace(self, Sample { avg: value, total: value, max: value, count: 1, start });
            return Some(finished);
        }
        self.total += value;
        self.count += 1;
        self.avg = self.total / self.count as f64;
        self.max = self.max.max(value);
        None
    }
}

/// A metric, as it lies in Redis and is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Metric {
    op: String,
    last_value: f64,
    /// Seconds since 1970; −1 before the first value.
    last_time: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    current: BTreeMap<i64, Sample>,
    history: BTreeMap<i64, Vec<Sample>>,
}

impl Metric {
    fn new(operation: &str) -> Self {
        Metric {
            op: operation.to_owned(),
            last_value: 0.0,
            last_time: -1,
            tags: Vec::new(),
            current: PERIODS.map(|period| (period, Sample::default())).into(),
            history: BTreeMap::new(),
        }
    }

    /// Takes a value; the periods that it finished.
    fn feed(&mut self, now: i64, value: f64) -> Vec<(i64, Sample)> {
        let (last_value, last_time) = (self.last_value, self.last_time);
        self.last_value = value;
        self.last_time = now;
        if last_time == -1 {
            if self.op == "A" {
                for (period, sample) in &mut self.current {
                    sample.feed(value, now, *period);
                }
            }
            return Vec::new();
        }
        if last_time >= now {
            return Vec::new();
        }
        let value = if self.op == "D" { (value - last_value) / (now - last_time) as f64 } else { value };
        if value.is_nan() {
            return Vec::new();
        }
        let mut finished = Vec::new();
        for (period, sample) in &mut self.current {
            let Some(sample) = sample.feed(value, now, *period).filter(|sample| sample.start != 0) else { continue };
            let history = self.history.entry(*period).or_default();
            history.push(sample.clone());
            if history.len() > HISTORY {
                history.remove(0);
            }
            finished.push((*period, sample));
        }
        finished
    }
}

/// The aggregator of a node.
pub(crate) struct Statistics {
    redis: Arc<RedisLink>,
    /// The keys of the metrics that are alive, and when they were last fed. Held while one is fed.
    keys: Mutex<HashMap<String, Instant>>,
}

impl Statistics {
    pub(crate) fn new(redis: Arc<RedisLink>) -> Self {
        Statistics { redis, keys: Mutex::default() }
    }

    /// What is known of a metric; an error where Redis does not tell.
    async fn load(&self, key: &str) -> RedisResult<Option<Metric>> {
        let mut get = Pipeline::new();
        get.get(key);
        let (document,) = self.redis.send::<(Option<String>,)>(&get).await?;
        Ok(document.and_then(|document| serde_json::from_str(&document).ok()))
    }

    /// Takes a measurement.
    pub(crate) async fn feed(&self, statistic: Statistic) {
        let Statistic { operation, key: name, value, mut tags } = statistic;
        tags.sort_by(|one, other| one.key.cmp(&other.key));
        let key = format!("state:{name}:{}", hash(&tags));
        let mut keys = self.keys.lock().await;
        keys.insert(key.clone(), Instant::now());
        let Ok(known) = self.load(&key).await else { return };
        let mut metric = known.unwrap_or_else(|| Metric::new(&operation));
        if !tags.is_empty() {
            metric.tags = tags;
        }
        let mut commands = Pipeline::new();
        for (period, sample) in metric.feed(message::seconds(), value) {
            let mut point = json!(sample);
            point["key"] = json!(name);
            if !metric.tags.is_empty() {
                let tags = metric.tags.iter().map(|tag| (tag.key.clone(), json!(tag.value)));
                point["tags"] = tags.collect::<Map<_, _>>().into();
            }
            commands.rpush(format!("statistics:{period}"), point.to_string()).ignore();
        }
        commands.set(&key, json!(metric).to_string()).ignore();
        let _ = self.redis.send::<()>(&commands).await;
        self.forget(&mut keys).await;
    }

    async fn forget(&self, keys: &mut HashMap<String, Instant>) {
        let old: Vec<String> =
            keys.iter().filter(|(_, fed)| fed.elapsed() > FORGOTTEN).map(|(key, _)| key.clone()).collect();
        for key in old {
            keys.remove(&key);
            let mut delete = Pipeline::new();
            delete.del(&key);
            let _ = self.redis.send::<()>(&delete).await;
        }
    }

    /// `aggregator.query`.
    pub(crate) async fn query(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(
            arguments,
            "struct { Key string \"json:\\\"key\\\"\"; Tags map[string]string \"json:\\\"tags\\\"\" }",
        )?;
        let wanted = fields.text("key");
        let tags = fields.table("tags", "map[string]string", |value| value.as_str().map(str::to_owned).ok_or("string"));
        fields.finish(500)?;
        let tags = tags.unwrap_or_default();
        let keys: Vec<String> = self.keys.lock().await.keys().cloned().collect();
        let mut found = Map::new();
        for key in keys {
            let Some(name) = key.split(':').nth(1).filter(|name| wanted.is_empty() || *name == wanted) else {
                continue;
            };
            let Ok(Some(metric)) = self.load(&key).await else { continue };
            if !tags.iter().all(|(key, value)| metric.tags.iter().any(|tag| tag.key == *key && tag.value == *value)) {
                continue;
            }
            let id = metric.tags.iter().find(|tag| tag.key == "id");
            let name = id.map_or_else(|| name.to_owned(), |id| format!("{name}/{}", id.value));
            found.insert(name, json!(metric));
        }
        Ok(found.into())
    }
}

/// Tells metrics of one name apart; nothing but the node itself makes any use of it.
fn hash(tags: &[Tag]) -> String {
    let mut hash = Sha256::new();
    for tag in tags {
        hash.update(format!("{{{} {}}}", tag.key, tag.value));
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_roll_over_at_the_end_of_a_period() {
        let mut metric = Metric::new("A");
        assert_eq!(metric.feed(600, 2.0), []);
        assert_eq!(metric.feed(630, 4.0), []);
        let finished = metric.feed(900, 10.0);
        assert_eq!(finished, [(300, Sample { avg: 3.0, total: 6.0, max: 4.0, count: 2, start: 600 })]);
        assert_eq!(metric.current[&300], Sample { avg: 10.0, total: 10.0, max: 10.0, count: 1, start: 900 });
        assert_eq!(metric.current[&3600].count, 3);
        assert_eq!(metric.history[&300].len(), 1);
    }

    #[test]
    fn differences_are_rates_and_begin_with_the_second_value() {
        let mut metric = Metric::new("D");
        metric.feed(600, 100.0);
        assert_eq!(metric.current[&300].count, 0);
        metric.feed(610, 150.0);
        assert_eq!(metric.current[&300].avg, 5.0);
        assert_eq!(metric.last_value, 150.0);
    }

    #[test]
    fn no_more_than_five_periods_are_remembered() {
        let mut metric = Metric::new("A");
        for period in 1..10 {
            metric.feed(period * 300, 1.0);
        }
        assert_eq!(metric.history[&300].len(), 5);
    }
}
