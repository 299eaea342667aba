use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::{Breaker, Chain, LanguageModel, ModelError, ModelName, Patience, Permit, RetryBudget};
use crate::tenant::Tenant;

/// How long readiness waits for warm connections; without them the first answer is only slower.
const WARM_UP_PATIENCE: Duration = Duration::from_secs(3);

/// The models of this deployment, in the order they are asked unless a tenant says otherwise.
#[derive(Debug, Default)]
pub struct Models {
    links: Vec<Arc<Link>>,
    budget: Arc<RetryBudget>,
    patience: Patience,
    warm: AtomicBool,
}

/// A model with what is known of its health; shared by every tenant that uses it.
#[derive(Debug)]
pub struct Link {
    /// Its name.
    pub name: ModelName,
    pub(super) model: Box<dyn LanguageModel>,
    pub(super) breaker: Arc<Breaker>,
    answers: AtomicU64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

impl Link {
    fn new(name: ModelName, model: Box<dyn LanguageModel>) -> Self {
        let (answers, failures) = (AtomicU64::new(0), Mutex::default());
        Self { name, model, breaker: Arc::default(), answers, failures }
    }

    pub(super) fn succeeded(&self, permit: Permit) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        permit.succeeded();
    }

    pub(super) fn failed(&self, permit: Permit, error: &ModelError) {
        self.count(error.label());
        if error.is_ill_health() {
            permit.failed();
        }
    }

    pub(super) fn passed_over(&self) {
        self.count("open");
    }

    /// Whether its breaker lets requests through as usual.
    pub fn is_healthy(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Results so far, by name: `answered` and the labels of failures.
    pub fn results(&self) -> Vec<(&'static str, u64)> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = ("answered", self.answers.load(Ordering::Relaxed));
        std::iter::once(answered).chain(failures.iter().map(|(&label, &count)| (label, count))).collect()
    }

    fn count(&self, label: &'static str) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(label).or_default() += 1;
    }
}

impl Models {
    /// Models in their default order.
    pub fn new(models: impl IntoIterator<Item = (ModelName, Box<dyn LanguageModel>)>, patience: Patience) -> Self {
        let links = models.into_iter().map(|(name, model)| Arc::new(Link::new(name, model))).collect();
        Self { links, budget: Arc::default(), patience, warm: AtomicBool::new(false) }
    }

    /// Every model, in the default order.
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// The default order.
    pub fn chain(&self) -> Chain {
        Chain::new(self.links.clone(), Arc::clone(&self.budget), self.patience)
    }

    /// What a tenant's questions try: the models it names, and for the demo's tenant all of them.
    /// `None` when there is nothing to try.
    pub fn chain_for(&self, tenant: &Tenant) -> Option<Chain> {
        let names = &tenant.settings.model.chain;
        let chain = if names.is_empty() && tenant.open { self.chain() } else { self.chain_of(names) };
        Some(chain).filter(|chain| !chain.is_empty())
    }

    /// Some models in an order of their own. Names that are not configured are left out.
    pub(super) fn chain_of(&self, names: &[ModelName]) -> Chain {
        let find = |name: &ModelName| self.links.iter().find(|link| link.name == *name).cloned();
        Chain::new(names.iter().filter_map(find).collect(), Arc::clone(&self.budget), self.patience)
    }

    /// Opens connections before the first question. A model that cannot be reached is no reason not to
    /// serve: the chain goes past it.
    pub async fn warm_up(&self) {
        let each = self.links.iter().map(|link| async {
            match tokio::time::timeout(WARM_UP_PATIENCE, link.model.warm_up()).await {
                Ok(Ok(())) => tracing::info!(model = %link.name, "a model is within reach"),
                Ok(Err(error)) => tracing::warn!(model = %link.name, %error, "a model could not be warmed up"),
                Err(_) => tracing::warn!(model = %link.name, "a model was too slow to be warmed up"),
            }
        });
        join_all(each).await;
        self.warm.store(true, Ordering::Release);
    }

    /// Whether [`Models::warm_up`] is over, or there is nothing to warm up.
    pub fn is_warm(&self) -> bool {
        self.links.is_empty() || self.warm.load(Ordering::Acquire)
    }
}
