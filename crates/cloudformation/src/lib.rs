//! Environment files to CloudFormation templates, task definitions, appspecs and buildspecs.
