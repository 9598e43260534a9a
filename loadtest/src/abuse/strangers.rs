//! The thread on which strangers run. It has the lowest priority, because strangers attack from
//! their own machines: they must not take CPU time from the servers or from honest clients.

use std::thread;

use anyhow::Context;
use rustix::process::nice;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::attack::{Attack, HonestAction, Prepared, Stage, Tally};

/// Added to the nice value of the thread.
const NICE: i32 = 15;

/// Strangers that wait for their release, or attack. They vanish when this value is dropped.
#[derive(Debug)]
pub(super) struct Strangers {
    release: Option<oneshot::Sender<()>>,
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

impl Strangers {
    /// Prepares an attack on a thread of its own.
    ///
    /// # Errors
    /// When the attack cannot be prepared.
    pub(super) async fn prepare(
        attack: &'static Attack,
        stage: Stage,
        tally: Tally,
    ) -> anyhow::Result<(Self, Option<HonestAction>)> {
        let (ready, is_ready) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("strangers".into()).spawn(move || {
            // Without the priority the figures are less exact, but valid.
            let _ = nice(NICE);
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error.into()))),
            };
            runtime.block_on(async move {
                let prepared = (attack.prepare)(&stage, &tally).await;
                let Prepared { strangers, honest } = match prepared {
                    Ok(prepared) => prepared,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                if ready.send(Ok(honest)).is_err() || released.await.is_err() {
                    return;
                }
                let mut tasks = JoinSet::new();
                for stranger in strangers {
                    tasks.spawn(stranger);
                }
                // An error means that `Strangers` was dropped, which also stops.
                let _ = stopped.await;
            });
            // Tasks and connections end with the runtime.
            drop(runtime);
            let _ = end.send(());
        })?;
        let honest = is_ready.await.context("the thread of the strangers ended")??;
        Ok((Self { release: Some(release), stop: Some(stop), ended }, honest))
    }

    /// Starts the attack.
    pub(super) fn release(&mut self) {
        if let Some(release) = self.release.take() {
            // The thread waits for this message; it ends early only by a panic, which it prints.
            let _ = release.send(());
        }
    }

    /// Stops the attack. Returns when all its connections are closed.
    pub(super) async fn stop(mut self) {
        drop((self.release.take(), self.stop.take()));
        let _ = self.ended.await;
    }
}
