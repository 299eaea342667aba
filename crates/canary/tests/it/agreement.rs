//! The service stack and the functions say the same: variables, handlers and runtime. The template is the committed
//! snapshot of an environment with hooks, which a test of `cloudformation` keeps true.

use std::path::Path;

use canary::{Duty, settings};
use serde_json::Value;

fn template() -> Value {
    let path = "../cloudformation/tests/it/snapshots/it__hardened__aws-smartassist-service-production.snap";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path).expect("the snapshot");
    let (_, json) = text.rsplit_once("\n---\n").expect("a header");
    serde_json::from_str(json).expect("a template")
}

#[test]
fn the_stack_sets_what_the_functions_read() {
    let template = template();
    let cases = [("ValidateCanary", Duty::Validate), ("MonitorCanary", Duty::Monitor)];
    for (function, duty) in cases {
        let properties = &template["Resources"][function]["Properties"];
        let set: Vec<_> = properties["Environment"]["Variables"].as_object().expect("variables").keys().collect();
        assert_eq!(set, settings::VARIABLES, "{function}");
        let handler = properties["Handler"].as_str().expect("a handler");
        assert_eq!(Duty::of_handler(handler), Some(duty), "{function}");
        // An executable called bootstrap, and no language.
        assert_eq!(properties["Runtime"], "provided.al2023", "{function}");
    }
}
