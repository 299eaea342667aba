//! The deploy client over the AWS SDK.
