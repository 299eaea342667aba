//! Events for a tenant's own systems: kept first, then delivered until somebody takes them.
//!
//! An event is signed as <https://www.standardwebhooks.com> says, so its receivers can use the libraries
//! that exist: `webhook-id`, `webhook-timestamp` and `webhook-signature`, HMAC-SHA-256 over the three parts.
//! The same event can arrive twice; its id tells. Events wait where all processes look: in a directory, or in a table.

mod outbox;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use http::{HeaderValue, Request, header};
use http_body_util::Full;
use sha2::Sha256;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

#[cfg(feature = "dynamodb")]
pub use outbox::DynamoOutbox;
pub use outbox::{Event, Outbox};

use crate::app::App;
use crate::clock::now_ms;
use crate::outbound::{self, Client};
use crate::tenant::Handoff;
use crate::trace::TRACEPARENT;

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first wait after a failure; it doubles every time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);
/// How long an event is worth delivering.
const GIVE_UP_MS: u64 = 24 * 3600 * 1000;
/// How often events are looked for that another process left behind.
const LOOK: Duration = Duration::from_secs(60);

/// Delivers events.
#[derive(Default)]
pub struct Webhooks {
    outbox: Outbox,
    more: Notify,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

/// An event that could not be delivered yet.
struct Delayed {
    tries: u32,
    due: Instant,
}

impl Webhooks {
    /// Events wait in an outbox.
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox, more: Notify::new() }
    }

    /// Keeps an event and delivers it soon; nothing happens for a tenant without a webhook.
    pub async fn send(&self, event: Event) -> std::io::Result<()> {
        self.outbox.put(event).await?;
        self.more.notify_one();
        Ok(())
    }

    /// Delivers until the process ends.
    pub async fn run(app: Arc<App>) {
        let webhooks = &app.webhooks;
        let (mut delayed, mut client) = (HashMap::new(), None);
        loop {
            let next = webhooks.deliver(&app, &mut delayed, &mut client).await;
            tokio::select! {
                () = webhooks.more.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Tries every event that is due; returns when to come back.
    async fn deliver(&self, app: &App, delayed: &mut HashMap<String, Delayed>, client: &mut Option<Client>) -> Instant {
        let waiting = match self.outbox.list().await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(error = %error, "the outbox cannot be read");
                return Instant::now() + LOOK;
            }
        };
        // What is not listed is settled, or another process has it: that one decides when it comes back.
        delayed.retain(|id, delayed| waiting.contains(id) || delayed.due > Instant::now());
        for id in waiting {
            if delayed.get(&id).is_some_and(|delayed| delayed.due > Instant::now()) {
                continue;
            }
            // Another process may be at it, or have delivered it in the meantime.
            let Ok(Some(claimed)) = self.outbox.claim(&id).await else { continue };
            let event = claimed.event();
            let handoff = app.tenants.get(&event.tenant).and_then(|tenant| tenant.settings.handoff.clone());
            let Some(handoff) = handoff.filter(|_| now_ms() < event.at_ms + GIVE_UP_MS) else {
                tracing::error!(event = %id, tenant = %event.tenant, "a webhook event is given up");
                app.metrics.webhook("given_up");
                claimed.remove().await;
                continue;
            };
            match post(client, &handoff, event).await {
                Ok(()) => {
                    app.metrics.webhook("delivered");
                    delayed.remove(&id);
                    claimed.remove().await;
                }
                Err(problem) => {
                    app.metrics.webhook("failed");
                    let tries = delayed.get(&id).map_or(0, |delayed| delayed.tries) + 1;
                    let longest = LONGEST_WAIT.min(FIRST_WAIT * 2_u32.saturating_pow(tries - 1).min(4096));
                    // Half of the wait is random, so that events do not come back all at once.
                    let wait = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
                    let wait_ms = wait.as_millis() as u64;
                    tracing::warn!(event = %id, tenant = %event.tenant, problem, tries, wait_ms, "a webhook event waits");
                    claimed.postpone(wait).await;
                    delayed.insert(id, Delayed { tries, due: Instant::now() + wait });
                }
            }
        }
        delayed.values().map(|delayed| delayed.due).min().unwrap_or_else(|| Instant::now() + LOOK)
    }
}

/// Posts an event; says in a word what went wrong. The receiver's own words are not logged.
async fn post(client: &mut Option<Client>, handoff: &Handoff, event: &Event) -> Result<(), String> {
    let client = match client {
        Some(client) => client,
        None => client.insert(outbound::client().map_err(|error| error.to_string())?),
    };
    let seconds = now_ms() / 1000;
    let mut request = Request::post(&handoff.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("smartbot/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", &event.id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature(&handoff.secret, &event.id, seconds, &event.body))
        .body(Full::new(Bytes::from(event.body.clone())))
        .map_err(|error| error.to_string())?;
    if let Some(value) = event.traceparent.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
        request.headers_mut().insert(TRACEPARENT, value);
    }
    match timeout(PATIENCE, client.request(request)).await {
        Ok(Ok(response)) if response.status().is_success() => Ok(()),
        Ok(Ok(response)) => Err(format!("status {}", response.status().as_u16())),
        Ok(Err(error)) if error.is_connect() => Err("cannot be reached".to_owned()),
        Ok(Err(_)) => Err("broke off".to_owned()),
        Err(_) => Err("timed out".to_owned()),
    }
}

/// `v1,` and the signature in base64. A secret that begins with `whsec_` is base64 itself.
fn signature(secret: &str, id: &str, seconds: u64, body: &str) -> String {
    let decoded = secret.strip_prefix("whsec_").and_then(|secret| BASE64.decode(secret).ok());
    let key = decoded.as_deref().unwrap_or(secret.as_bytes());
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        // The example of standard-webhooks/spec, checked against its own library.
        let signature = super::signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
