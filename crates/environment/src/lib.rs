//! The typed environment files: project.yaml and environments/*/environment.yaml.
