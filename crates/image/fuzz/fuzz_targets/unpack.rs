//! The endpoint's unpacking: nothing beside the root changes, whatever the layer says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use localcloud::runtime::unpack::unpack;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let layer = folder.path().join("layer");
    std::fs::write(&layer, bytes).expect("a layer");
    let root = folder.path().join("root");
    let unpacked = unpack(&[layer.clone()], &root).is_ok();
    assert_eq!(root.exists(), unpacked);
    let names = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(names, 1 + usize::from(unpacked), "something else appeared");
    assert_eq!(std::fs::read(layer).expect("the layer"), bytes);
});
