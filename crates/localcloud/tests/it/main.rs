//! The endpoint through its public surfaces: a real server on a loopback port.

mod checkout;
mod client;
mod cloudformation;
mod cloudwatch;
mod codebuild;
mod codedeploy;
mod codepipeline;
mod conformance;
mod ecs;
mod elbv2;
mod logs;
mod parameters;
mod registry;
mod runtime;
mod scans;
mod server;
