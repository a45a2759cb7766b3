//! Each layer by itself, on calls that fail as told, under paused time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::{Around, Call, ConcurrencyLimit, Deadline, Retry, Trace};
use crate::error::{self, Error, ErrorKind, Result};
use crate::operation;

fn call(operation: &'static operation::Operation) -> Call<'static> {
    Call::new(operation, "n", "web")
}

#[tokio::test(start_paused = true)]
async fn deadlines_fit_the_pace_and_advise_by_access() {
    let layer = Deadline::default();
    let seconds = |call: Call<'static>| {
        let layer = &layer;
        async move {
            let begun = Instant::now();
            let result: Result<()> = layer.around(call, || Some(std::future::pending().boxed())).await;
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            (begun.elapsed().as_secs(), error.retry())
        }
    };
    assert_eq!(seconds(call(&operation::CONTAINER_INSPECT)).await, (30, error::Retry::Safe));
    assert_eq!(seconds(call(&operation::CONTAINER_KILL)).await, (30, error::Retry::Unknown));
    let stop = call(&operation::CONTAINER_STOP).granted(Duration::from_secs(45));
    assert_eq!(seconds(stop).await, (645, error::Retry::Unknown));
    let wait = call(&operation::JOB_WAIT).granted(Duration::from_secs(100));
    assert_eq!(seconds(wait).await.0, 105);
}

#[tokio::test(start_paused = true)]
async fn only_streams_that_may_be_silent_outlive_the_idle_time() {
    let layer = Deadline::default();
    let silent = || stream::pending::<Result<u8>>().boxed();
    let begun = Instant::now();
    let items: Vec<_> = layer.stream(call(&operation::CONTAINER_EXPORT), silent()).collect().await;
    assert_eq!(begun.elapsed().as_secs(), 600);
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].as_ref().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    let mut followed = layer.stream(call(&operation::CONTAINER_LOGS).live(true), silent());
    assert!(tokio::time::timeout(Duration::from_secs(3600), followed.next()).await.is_err());
}

/// Fails with `make` until it was tried `failures` times; gives the number of tries.
async fn tries(layer: &Retry, call: Call<'static>, failures: u32, make: fn() -> Error) -> (u32, bool) {
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let result = layer
        .around(call, move || {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            Some(async move { if number < failures { Err(make()) } else { Ok(()) } }.boxed())
        })
        .await;
    (count.load(Ordering::SeqCst), result.is_ok())
}

#[tokio::test(start_paused = true)]
async fn reads_are_repeated_and_writes_only_when_nothing_happened() {
    let layer = Retry::default();
    let unavailable = || Error::new(ErrorKind::Unavailable, "");
    let refused = || Error::new(ErrorKind::Unavailable, "").with_retry(error::Retry::Safe);
    let missing = || Error::new(ErrorKind::NotFound, "");
    assert_eq!(tries(&layer, call(&operation::NODE_LIST_CONTAINERS), 2, unavailable).await, (3, true));
    assert_eq!(tries(&layer, call(&operation::NODE_LIST_CONTAINERS), 9, unavailable).await, (3, false));
    assert_eq!(tries(&layer, call(&operation::NODE_LIST_CONTAINERS), 9, missing).await, (1, false));
    for write in [&operation::NODE_CREATE_CONTAINER, &operation::CONTAINER_START, &operation::CONTAINER_DELETE] {
        assert_eq!(tries(&layer, call(write), 9, unavailable).await, (1, false), "{}", write.name);
        assert_eq!(tries(&layer, call(write), 1, refused).await, (2, true), "{}", write.name);
    }
    assert_eq!(tries(&layer, call(&operation::CONTAINER_WAIT), 9, unavailable).await, (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_argument_is_used_up_is_not_repeated() {
    let mut archive = Some(());
    let refused = || Error::new(ErrorKind::Unavailable, "refused").with_retry(error::Retry::Safe);
    let result: Result<()> = Retry::default()
        .around(call(&operation::CONTAINER_COPY_IN), || archive.take().map(|()| async move { Err(refused()) }.boxed()))
        .await;
    assert_eq!(result.unwrap_err().message(), "refused");
}

#[tokio::test(start_paused = true)]
async fn the_limit_bounds_calls_but_not_waits() {
    let layer = Arc::new(ConcurrencyLimit::new(2, 1, Duration::from_secs(1)));
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let busy = |seconds: u64, operation: &'static operation::Operation| {
        let (layer, now, most) = (Arc::clone(&layer), Arc::clone(&now), Arc::clone(&most));
        tokio::spawn(async move {
            let work = || {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                Some(
                    async move {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        sleep(Duration::from_secs(seconds)).await;
                        now.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    }
                    .boxed(),
                )
            };
            layer.around(call(operation), work).await
        })
    };
    let calls = [busy(10, &operation::NODE_PING), busy(10, &operation::NODE_PING), busy(10, &operation::NODE_PING)];
    let mut refused = 0;
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::ResourceExhausted, error::Retry::Safe));
            refused += 1;
        }
    }
    assert_eq!((refused, most.load(Ordering::SeqCst)), (1, 2));
    let waits: Vec<_> = (0..5).map(|_| busy(10, &operation::JOB_WAIT)).collect();
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn uploads_slow_calls_and_quick_calls_do_not_shut_each_other_out() {
    let layer = Arc::new(ConcurrencyLimit::new(1, 1, Duration::from_secs(1)));
    let stuck = |operation: &'static operation::Operation| {
        let layer = Arc::clone(&layer);
        tokio::spawn(async move {
            let never = || Some(std::future::pending::<Result<()>>().boxed());
            layer.around(call(operation), never).await
        })
    };
    let answered = |operation: &'static operation::Operation| {
        let layer = Arc::clone(&layer);
        async move { layer.around(call(operation), || Some(async { Ok(()) }.boxed())).await.is_ok() }
    };
    let upload = stuck(&operation::CONTAINER_COPY_IN);
    sleep(Duration::from_millis(1)).await;
    for other in [&operation::IMAGE_LOAD, &operation::IMAGE_IMPORT, &operation::CONTAINER_COPY_IN] {
        assert!(!answered(other).await, "{}", other.name);
    }
    assert!(answered(&operation::CONTAINER_STOP).await && answered(&operation::NODE_PING).await);
    let stop = stuck(&operation::CONTAINER_STOP);
    sleep(Duration::from_millis(1)).await;
    assert!(!answered(&operation::CONTAINER_EXPORT).await && answered(&operation::NODE_PING).await);
    for call in [upload, stop] {
        call.abort();
    }
}

/// Notes the names of spans as they are made.
struct Names(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Names {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.0.lock().unwrap().push(span.metadata().name().to_owned());
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn errors_say_what_failed_where_and_spans_have_stable_names() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let _guard = tracing::subscriber::set_default(Names(Arc::clone(&names)));
    let fails = || Some(async { Err::<(), _>(Error::new(ErrorKind::Conflict, "it runs")) }.boxed());
    let error = Trace::default().around(call(&operation::CONTAINER_DELETE), fails).await.unwrap_err();
    assert_eq!(error.to_string(), "container.delete web on n: it runs");
    assert_eq!(*names.lock().unwrap(), ["roadstead.container.delete"]);
}
