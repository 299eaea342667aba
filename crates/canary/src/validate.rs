//! ValidateCanary: the new version must answer on the test listener before a customer meets it.

use tokio::time::Instant;

use crate::call::Call;
use crate::function::Function;

impl Function {
    /// Talks to the new version, and says what was seen or what is wrong.
    pub(crate) async fn validate(&self, call: &Call, until: Instant) -> Result<String, String> {
        let (url, conversations) = (&self.settings.test_url, self.settings.conversations);
        let commit = self.aws.commit(call).await?;
        self.customer.meets(url, &commit, until).await?;
        self.customer.converses(url, &commit, conversations).await?;
        Ok(format!("commit {commit} answered {conversations} conversations with sources"))
    }
}
