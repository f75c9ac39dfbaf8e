//! Listeners on threads of their own: the edge's, and those of metadata services.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use http::{Request, Response};
use tokio::sync::oneshot;

use crate::edge::Edge;

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(listener: TcpListener, app: Router, threads: usize) -> anyhow::Result<Self> {
        listener.set_nonblocking(true).context("prepare the listener")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("local-aws".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let serving = async {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    axum::serve(listener, app).await
                };
                tokio::select! {
                    result = serving => if let Err(error) = result { tracing::error!(%error, "the edge stopped") },
                    _ = stopped => {}
                }
            });
            // Requests in flight are cut off: nobody is left to read their answers.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the edge answers.
pub(crate) fn edge(edge: Arc<Edge>) -> Router {
    Router::new().fallback(serve).with_state(edge)
}

async fn serve(State(edge): State<Arc<Edge>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match axum::body::to_bytes(body, usize::MAX).await {
        Ok(body) => edge.answer(Request::from_parts(parts, body)).await.map(Body::from),
        // The caller went away while it was sending.
        Err(_) => Response::builder().status(400).body(Body::empty()).unwrap_or_default(),
    }
}
