//! The floor: one thread, one route, a constant answer.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use hyper_util::rt::{TokioIo, TokioTimer};
use tower_service::Service as _;

pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async move {
        // The body is read, as any service must.
        let answer = |_: Bytes| async { "{\"response\":\"どういたしまして。\"}" };
        let router = Router::new().route("/health", get(|| async { "" })).route("/chat", post(answer));
        let listener = tokio::net::TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let router = router.clone();
            let service = hyper::service::service_fn(move |request| router.clone().call(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                // The other end has gone: that is how every connection ends here.
                let _ = connection.await;
            });
        }
    })
}
