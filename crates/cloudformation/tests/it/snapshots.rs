//! The templates of the committed environments, whole.

use cloudformation::{TEMPLATE_LIMIT, files, templates};

use crate::variants::{committed, project, root};

#[test]
fn templates_of_the_committed_environments() {
    let mut seen = Vec::new();
    for environment in committed() {
        for stack in templates(&project(), &environment).unwrap() {
            assert!(stack.body().len() < TEMPLATE_LIMIT, "{} is too large", stack.name);
            if !seen.contains(&stack.name) {
                insta::assert_snapshot!(stack.name.clone(), format!("{:#}", stack.template));
                seen.push(stack.name);
            }
        }
    }
    let order = [
        "smartassist-registry",
        "smartassist-network-staging",
        "smartassist-service-staging",
        "smartassist-delivery",
        "smartassist-network-production",
        "smartassist-service-production",
    ];
    assert_eq!(seen, order);
}

#[test]
fn committed_files_are_current() {
    for file in files(&project(), &committed()).unwrap() {
        let text = std::fs::read_to_string(root().join(&file.path)).unwrap_or_default();
        assert!(text == file.text, "{} is stale\nhint: cargo xtask synth", file.path);
    }
}

#[test]
fn nothing_generated_says_where_it_will_run() {
    let environments = committed();
    let mut texts: Vec<_> = files(&project(), &environments).unwrap().into_iter().map(|file| file.text).collect();
    for environment in &environments {
        texts.extend(templates(&project(), environment).unwrap().iter().map(cloudformation::Stack::body));
    }
    for text in texts {
        for word in ["127.0.0.1", "localhost", "localcloud", "embedded endpoint"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}
