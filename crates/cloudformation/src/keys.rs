//! Keys of our own in KMS.

use crate::policy::{Principal, Statement, document};
use crate::resources::kms::{Alias, Key};
use crate::sub;
use crate::template::{Handle, Resource, Template};
use crate::value::{Intrinsic, REGION, arn};

/// What the account's administrators need to look after a key, and what IAM policies may pass on. Named one by one:
/// a key whose policy locks everybody out stays locked.
const ADMINISTER: [&str; 20] = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
];

/// What encrypting and decrypting take.
const USE: [&str; 3] = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"];

/// Days in which a deletion can be taken back.
const DELETION_WINDOW_DAYS: i64 = 30;

/// A key that CloudWatch Logs may use, and the services that publish to encrypted topics.
pub(crate) fn add(template: &mut Template, id: &str, name: &str, description: String) -> Handle<Key> {
    let publishers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"];
    let mut statements = vec![
        Statement::grant("Administer", Principal::account(), ADMINISTER),
        Statement::deny_grants(),
        Statement::grant(
            "EncryptLogs",
            Principal::service(sub!["logs.", REGION, ".amazonaws.com"]),
            [
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
            ],
        )
        .when("ArnLike", "kms:EncryptionContext:aws:logs:arn", arn("logs", "log-group:*")),
    ];
    for (sid, service) in ["PublishAlarms", "PublishEvents"].into_iter().zip(publishers) {
        statements.push(Statement::grant(sid, Principal::service(service), USE).for_own_account());
    }
    let key = Key {
        description: Some(description.into()),
        enable_key_rotation: Some(true.into()),
        key_policy: Some(document(&statements).into()),
        pending_window_in_days: Some(DELETION_WINDOW_DAYS.into()),
        ..Key::default()
    };
    let key = template.add(id, Resource::new(key).retained());
    template.add(format!("{id}Alias"), Alias::new(format!("alias/{name}"), key.reference()));
    key
}

/// Lets a role use a key through its policy.
pub(crate) fn use_key(key: &Intrinsic) -> Statement {
    Statement::allow("UseKey", USE, [key.clone()])
}

/// Lets a role read what one service encrypted with a key.
pub(crate) fn decrypt_through(key: &Intrinsic, service: &str) -> Statement {
    Statement::allow("DecryptSecrets", ["kms:Decrypt"], [key.clone()]).when(
        "StringEquals",
        "kms:ViaService",
        sub![format!("{service}."), REGION, ".amazonaws.com"],
    )
}
