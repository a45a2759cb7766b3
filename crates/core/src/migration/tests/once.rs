//! Somebody who does something at one point of a move.

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;

/// Does something once at a point.
struct Once<F> {
    at: Point,
    work: Mutex<Option<F>>,
}

impl<F> std::fmt::Debug for Once<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "once {}", self.at)
    }
}

#[async_trait]
impl<F: FnOnce() -> futures_util::future::BoxFuture<'static, ()> + Send> Observer for Once<F> {
    async fn reached(&self, point: Point) {
        let work = if point == self.at { self.work.lock().unwrap().take() } else { None };
        if let Some(work) = work {
            work().await;
        }
    }

    fn changed(&self, _: &MoveRecord) {}

    fn copied(&self, _: u64) {}
}

pub(super) fn once<W: Future<Output = ()> + Send + 'static>(
    step: Step,
    phase: Phase,
    work: impl FnOnce() -> W + Send + 'static,
) -> Arc<dyn Observer> {
    let work = move || -> futures_util::future::BoxFuture<'static, ()> { Box::pin(work()) };
    Arc::new(Once { at: Point { step, phase }, work: Mutex::new(Some(work)) })
}
