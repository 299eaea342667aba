//! Buckets: private, encrypted, versioned, over TLS only, emptied by age.

use crate::policy::{Principal, Statement, document};
use crate::resources::s3::bucket::{
    AbortIncompleteMultipartUpload, BucketEncryption, LifecycleConfiguration, LoggingConfiguration,
    NoncurrentVersionExpiration, OwnershipControls, OwnershipControlsRule, OwnershipControlsRuleObjectOwnership,
    PublicAccessBlockConfiguration, Rule as LifecycleRule, RuleStatus, ServerSideEncryptionByDefault,
    ServerSideEncryptionByDefaultSSEAlgorithm, ServerSideEncryptionRule, VersioningConfiguration,
    VersioningConfigurationStatus,
};
use crate::resources::s3::{Bucket, BucketPolicy};
use crate::sub;
use crate::template::{Handle, Resource, Rule, Template};
use crate::value::{ACCOUNT, Intrinsic};

/// What buckets differ in.
pub(crate) struct Private {
    /// Name, unique in the world.
    pub(crate) name: Intrinsic,
    /// Days that an object, and then its former versions, are kept.
    pub(crate) days: i64,
    /// The key that encrypts it; none is S3's own.
    pub(crate) key: Option<Intrinsic>,
    /// Whether its requests are recorded.
    pub(crate) requests: Requests,
}

/// What becomes of the requests to a bucket.
pub(crate) enum Requests {
    /// They are recorded in this bucket.
    Recorded(Intrinsic),
    /// Nobody asked for it.
    Unrecorded,
    /// The bucket receives records itself, and recording its own would feed it.
    Fed,
}

impl Private {
    /// Adds the bucket and its policy, which begins with refusing plain text.
    pub(crate) fn add(
        self,
        template: &mut Template,
        id: &str,
        statements: impl FnOnce(&Handle<Bucket>) -> Vec<Statement>,
    ) -> Handle<Bucket> {
        let receives_logs = matches!(self.requests, Requests::Fed);
        let nobody = "Nothing waits for its objects; whoever needs one asks for it";
        let aged = "Its objects go by age; a lock would keep what nobody needs";
        let mut resource = Resource::new(self.bucket())
            .retained()
            .except(Rule::ControlTower("CT.S3.PR.4"), nobody)
            .except(Rule::ControlTower("CT.S3.PR.9"), aged);
        if receives_logs {
            let feeds = "It receives the logs; recording its own requests would feed itself";
            let written = "Load balancers and S3 itself write logs to buckets with S3's own key only";
            resource = resource
                .except(Rule::Checkov("CKV_AWS_18"), feeds)
                .except(Rule::ControlTower("CT.S3.PR.2"), feeds)
                .except(Rule::ControlTower("CT.S3.PR.10"), written);
        }
        let bucket = template.add(id, resource);
        let everything = [bucket.arn(), bucket.arn().followed_by("/*")];
        let mut policy = vec![Statement::deny_plain_text("s3:*", everything)];
        policy.extend(statements(&bucket));
        template.add(format!("{id}Policy"), BucketPolicy::new(bucket.reference(), document(&policy)));
        bucket
    }

    fn bucket(self) -> Bucket {
        let algorithm = match self.key {
            None => ServerSideEncryptionByDefault::new(ServerSideEncryptionByDefaultSSEAlgorithm::Aes256),
            Some(key) => ServerSideEncryptionByDefault {
                kms_master_key_id: Some(key.into()),
                ..ServerSideEncryptionByDefault::new(ServerSideEncryptionByDefaultSSEAlgorithm::AwsKms)
            },
        };
        let encryption = ServerSideEncryptionRule {
            server_side_encryption_by_default: Some(algorithm),
            ..ServerSideEncryptionRule::default()
        };
        let owner = OwnershipControlsRule {
            object_ownership: Some(OwnershipControlsRuleObjectOwnership::BucketOwnerEnforced.into()),
        };
        let expiry = LifecycleRule {
            id: Some("expire".into()),
            expiration_in_days: Some(self.days.into()),
            noncurrent_version_expiration: Some(NoncurrentVersionExpiration::new(self.days)),
            abort_incomplete_multipart_upload: Some(AbortIncompleteMultipartUpload::new(1)),
            ..LifecycleRule::new(RuleStatus::Enabled)
        };
        let logging = match self.requests {
            Requests::Recorded(bucket) => Some(LoggingConfiguration {
                destination_bucket_name: Some(bucket.into()),
                log_file_prefix: Some("requests/".into()),
                ..LoggingConfiguration::default()
            }),
            Requests::Unrecorded | Requests::Fed => None,
        };
        Bucket {
            bucket_name: Some(self.name.into()),
            bucket_encryption: Some(BucketEncryption::new(vec![encryption])),
            lifecycle_configuration: Some(LifecycleConfiguration::new(vec![expiry])),
            logging_configuration: logging,
            ownership_controls: Some(OwnershipControls::new(vec![owner])),
            public_access_block_configuration: Some(PublicAccessBlockConfiguration {
                block_public_acls: Some(true.into()),
                block_public_policy: Some(true.into()),
                ignore_public_acls: Some(true.into()),
                restrict_public_buckets: Some(true.into()),
            }),
            versioning_configuration: Some(VersioningConfiguration::new(VersioningConfigurationStatus::Enabled)),
            ..Bucket::default()
        }
    }
}

/// Lets load balancers record their requests.
pub(crate) fn load_balancer_logs(bucket: &Handle<Bucket>) -> Statement {
    let objects = sub![bucket.arn(), "/load-balancer/AWSLogs/", ACCOUNT, "/*"];
    Statement::allow("LoadBalancerLogs", ["s3:PutObject"], [objects])
        .by(Principal::service("logdelivery.elasticloadbalancing.amazonaws.com"))
}

/// Lets VPCs record their connections.
pub(crate) fn flow_logs(bucket: &Handle<Bucket>) -> [Statement; 2] {
    let delivery = || Principal::service("delivery.logs.amazonaws.com");
    let objects = sub![bucket.arn(), "/flow/AWSLogs/", ACCOUNT, "/*"];
    [
        Statement::allow("FlowLogs", ["s3:PutObject"], [objects]).by(delivery()).for_own_account().when(
            "StringEquals",
            "s3:x-amz-acl",
            "bucket-owner-full-control",
        ),
        Statement::allow("FlowLogsCheck", ["s3:GetBucketAcl"], [bucket.arn()]).by(delivery()).for_own_account(),
    ]
}

/// Lets other buckets record their requests.
pub(crate) fn bucket_logs(bucket: &Handle<Bucket>) -> Statement {
    Statement::allow("BucketLogs", ["s3:PutObject"], [sub![bucket.arn(), "/requests/*"]])
        .by(Principal::service("logging.s3.amazonaws.com"))
        .for_own_account()
}
