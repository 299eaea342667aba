//! A proxy between client and registry that breaks connections: at a given number of bytes on the way up, or by standing still.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the proxy does to what is sent to the registry.
#[derive(Debug, Clone)]
pub(crate) enum Mischief {
    /// Cuts the connection whenever the bytes sent altogether, over all connections, reach the next of these.
    CutAt(Vec<u64>),
    /// Drops every third PATCH before anything of it arrives.
    DropPatches(u32),
    /// Forwards this many bytes altogether, then nothing more, and keeps every connection open.
    StallAfter(u64),
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    cuts: Arc<AtomicU64>,
    up: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn start(target: &str, mischief: Mischief) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (cuts, up) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let plan = Arc::new(Mutex::new(mischief));
        let (target, counter, total) = (target.to_owned(), Arc::clone(&cuts), Arc::clone(&up));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let (plan, counter, total) = (Arc::clone(&plan), Arc::clone(&counter), Arc::clone(&total));
                let (client_back, server_back) =
                    (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                thread::spawn(move || forward_up(client, server, &plan, &counter, &total));
                thread::spawn(move || forward_down(server_back, client_back));
            }
        });
        Self { address, cuts, up }
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }

    /// Bytes that went up.
    pub(crate) fn sent(&self) -> u64 {
        self.up.load(Ordering::SeqCst)
    }
}

fn forward_up(mut client: TcpStream, mut server: TcpStream, plan: &Mutex<Mischief>, cuts: &AtomicU64, up: &AtomicU64) {
    // Small, so that a cut is close to its place.
    let mut buffer = [0; 8 * 1024];
    while let Ok(read) = client.read(&mut buffer) {
        if read == 0 {
            break;
        }
        let now = up.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
        let mut plan = plan.lock().expect("no thread panics while holding it");
        let act = match &mut *plan {
            Mischief::CutAt(places) if places.first().is_some_and(|place| now >= *place) => {
                places.remove(0);
                true
            }
            Mischief::CutAt(_) => false,
            Mischief::DropPatches(seen) => {
                *seen += u32::from(buffer.starts_with(b"PATCH "));
                if buffer.starts_with(b"PATCH ") && seen.is_multiple_of(3) {
                    cuts.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                false
            }
            Mischief::StallAfter(limit) => {
                if now > *limit {
                    // The peer sees an open connection on which nothing happens; the handles live as long as the test.
                    drop(plan);
                    std::mem::forget((client, server));
                    return;
                }
                false
            }
        };
        drop(plan);
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
        if act {
            cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn forward_down(mut server: TcpStream, mut client: TcpStream) {
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}
