//! One listening socket and the connections that it accepted.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::proxy;
use super::routes::Routes;

/// A bound port. Dropping it stops listening at once; accepted connections finish the request that they are in.
pub(super) struct Serving {
    port: u16,
    table: Arc<ArcSwapOption<Routes>>,
    _stop: watch::Sender<()>,
}

impl Serving {
    /// Binds 127.0.0.1 at `port` and serves; until it has a routing table, requests wait.
    pub(super) fn bind(port: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Connections of an earlier endpoint in TIME_WAIT must not keep the port from its successor.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let listener = socket.listen(1024)?;
        let table: Arc<ArcSwapOption<Routes>> = Arc::default();
        let (stop, stopped) = watch::channel(());
        tokio::spawn(accept(listener, table.clone(), stopped));
        Ok(Self { port, table, _stop: stop })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Routes every request from now on by `routes`.
    pub(super) fn route(&self, routes: Routes) {
        self.table.store(Some(Arc::new(routes)));
    }
}

async fn accept(listener: TcpListener, table: Arc<ArcSwapOption<Routes>>, mut stopped: watch::Receiver<()>) {
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a load balancer's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            // An error means that the sender was dropped, which is how this is told to stop.
            _ = stopped.changed() => return,
        };
        tokio::spawn(serve(stream, peer, table.clone(), stopped.clone()));
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    table: Arc<ArcSwapOption<Routes>>,
    mut stopped: watch::Receiver<()>,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let table = table.clone();
        async move { Ok::<_, Infallible>(proxy::answer(&table, peer, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(60))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a load balancer's connection ended early");
    }
}
