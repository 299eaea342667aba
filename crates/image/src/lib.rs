//! Builds the chatbot's OCI image and ships it to a registry.
