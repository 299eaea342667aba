//! The bucket of the pipeline's artifacts.

use environment::Project;

use crate::policy::{Statement, document};
use crate::resources::s3::bucket::{
    AbortIncompleteMultipartUpload, BucketEncryption, LifecycleConfiguration, NoncurrentVersionExpiration,
    OwnershipControls, OwnershipControlsRule, OwnershipControlsRuleObjectOwnership, PublicAccessBlockConfiguration,
    Rule, RuleStatus, ServerSideEncryptionByDefault, ServerSideEncryptionByDefaultSSEAlgorithm,
    ServerSideEncryptionRule, VersioningConfiguration, VersioningConfigurationStatus,
};
use crate::resources::s3::{Bucket, BucketPolicy};
use crate::sub;
use crate::template::{Handle, Resource, Template};
use crate::value::{ACCOUNT, REGION};

/// Days that artifacts and build caches are kept.
const RETENTION_DAYS: i64 = 30;

/// Private, encrypted, versioned (the pipeline needs it), over TLS only, emptied by age.
pub(super) fn add(template: &mut Template, project: &Project) -> Handle<Bucket> {
    let algorithm = ServerSideEncryptionByDefault::new(ServerSideEncryptionByDefaultSSEAlgorithm::Aes256);
    let encryption = ServerSideEncryptionRule {
        server_side_encryption_by_default: Some(algorithm),
        ..ServerSideEncryptionRule::default()
    };
    let owner = OwnershipControlsRule {
        object_ownership: Some(OwnershipControlsRuleObjectOwnership::BucketOwnerEnforced.into()),
    };
    let expiry = Rule {
        id: Some("expire".into()),
        expiration_in_days: Some(RETENTION_DAYS.into()),
        noncurrent_version_expiration: Some(NoncurrentVersionExpiration::new(RETENTION_DAYS)),
        abort_incomplete_multipart_upload: Some(AbortIncompleteMultipartUpload::new(1)),
        ..Rule::new(RuleStatus::Enabled)
    };
    let bucket = Bucket {
        bucket_name: Some(sub![project.name.as_str(), "-artifacts-", ACCOUNT, "-", REGION].into()),
        bucket_encryption: Some(BucketEncryption::new(vec![encryption])),
        lifecycle_configuration: Some(LifecycleConfiguration::new(vec![expiry])),
        ownership_controls: Some(OwnershipControls::new(vec![owner])),
        public_access_block_configuration: Some(PublicAccessBlockConfiguration {
            block_public_acls: Some(true.into()),
            block_public_policy: Some(true.into()),
            ignore_public_acls: Some(true.into()),
            restrict_public_buckets: Some(true.into()),
        }),
        versioning_configuration: Some(VersioningConfiguration::new(VersioningConfigurationStatus::Enabled)),
        ..Bucket::default()
    };
    let bucket = template.add("ArtifactBucket", Resource::new(bucket).retained());
    let everything = [bucket.arn(), sub![bucket.arn(), "/*"]];
    let policy = document(vec![Statement::deny_plain_text("s3:*", everything)]);
    template.add("ArtifactBucketPolicy", BucketPolicy::new(bucket.reference(), policy));
    bucket
}
