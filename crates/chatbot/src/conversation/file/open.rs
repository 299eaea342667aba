use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::HashMap;

use super::super::{ConversationId, ConversationKey, SegmentId, TenantId};
use super::segment::Segment;

/// The most segments kept open. Each costs a descriptor and the last questions of some conversations.
const MOST: usize = 64;
/// Conversations begun in one segment.
const CONVERSATIONS: u32 = 128;
/// How long conversations are begun in one segment: what is in one file should also end together.
const AGE: Duration = Duration::from_secs(60 * 60);

/// The segments used last, and those that conversations are begun in.
#[derive(Debug, Default)]
pub(super) struct OpenSegments(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    segments: HashMap<(TenantId, SegmentId), Open>,
    filling: HashMap<TenantId, Filling>,
    /// Counts uses: the clock by which the oldest is found.
    now: u64,
}

#[derive(Debug)]
struct Open {
    segment: Arc<Mutex<Segment>>,
    used: u64,
}

/// A segment that conversations are begun in.
#[derive(Debug)]
struct Filling {
    id: SegmentId,
    left: u32,
    since: Instant,
}

impl OpenSegments {
    /// An id for a conversation of this tenant that is about to begin.
    pub(super) fn name(&self, tenant: &TenantId) -> std::io::Result<ConversationId> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = |filling: &&mut Filling| filling.left > 0 && filling.since.elapsed() < AGE;
        if let Some(filling) = shelf.filling.get_mut(tenant).filter(room) {
            filling.left -= 1;
            return ConversationId::random_in(filling.id);
        }
        let id = ConversationId::random()?;
        let filling = Filling { id: id.segment(), left: CONVERSATIONS - 1, since: Instant::now() };
        shelf.filling.insert(tenant.clone(), filling);
        Ok(id)
    }

    /// The segment of a conversation, if it is open.
    pub(super) fn find(&self, key: &ConversationKey) -> Option<Arc<Mutex<Segment>>> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.now += 1;
        let now = shelf.now;
        let open = shelf.segments.get_mut(&(key.tenant.clone(), key.id.segment()))?;
        open.used = now;
        Some(Arc::clone(&open.segment))
    }

    /// Keeps a segment open. When another thread opened it meanwhile, that one is kept: two would
    /// wait for each other's locks.
    pub(super) fn keep(&self, key: &ConversationKey, segment: Segment) -> Arc<Mutex<Segment>> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.now += 1;
        let now = shelf.now;
        if shelf.segments.len() >= MOST {
            // A quarter at once, so that the search for the oldest is rare.
            let mut uses: Vec<u64> = shelf.segments.values().map(|open| open.used).collect();
            let (_, &mut oldest, _) = uses.select_nth_unstable(MOST / 4);
            shelf.segments.retain(|_, open| open.used > oldest);
        }
        let open = shelf.segments.entry((key.tenant.clone(), key.id.segment()));
        let open = open.or_insert_with(|| Open { segment: Arc::new(Mutex::new(segment)), used: now });
        Arc::clone(&open.segment)
    }

    /// Closes a segment, if it is still this one.
    pub(super) fn close(&self, key: &ConversationKey, segment: &Arc<Mutex<Segment>>) {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (key.tenant.clone(), key.id.segment());
        if shelf.segments.get(&name).is_some_and(|open| Arc::ptr_eq(&open.segment, segment)) {
            shelf.segments.remove(&name);
        }
    }
}
