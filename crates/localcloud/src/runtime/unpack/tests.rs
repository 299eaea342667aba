use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

type Entry<'a> = (&'a str, EntryType, &'a str);

fn layer(folder: &Path, name: &str, entries: &[Entry<'_>]) -> PathBuf {
    let path = folder.join(name);
    let encoder = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        let link = matches!(kind, EntryType::Symlink | EntryType::Link);
        header.set_size(if link { 0 } else { content.len() as u64 });
        // Written raw: the builder's own checks would refuse the dangerous names.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        if link {
            header.set_link_name(content).unwrap();
        }
        header.set_cksum();
        builder.append(&header, if link { &b""[..] } else { content.as_bytes() }).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap();
    path
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn upper_layers_replace_and_remove_what_lower_ones_put() {
    let folder = tempfile::tempdir().unwrap();
    let lower = layer(folder.path(), "1", &[("etc/a", FILE, "1"), ("etc/b", FILE, "1"), ("smartbot", FILE, "old")]);
    let upper = layer(folder.path(), "2", &[("etc/.wh.a", FILE, ""), ("smartbot", FILE, "new")]);
    let root = folder.path().join("root");
    unpack(&[lower, upper], &root).unwrap();
    assert!(!root.join("etc/a").exists());
    assert!(root.join("etc/b").exists());
    assert_eq!(fs::read_to_string(root.join("smartbot")).unwrap(), "new");
}

/// A folder beside the root that no layer may touch.
struct Outside {
    folder: tempfile::TempDir,
}

impl Outside {
    fn new() -> Self {
        let outside = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(outside.path()).unwrap();
        fs::write(outside.path().join("kept"), "secret").unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o700)).unwrap();
        outside
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    fn is_untouched(&self) -> bool {
        let kept = self.path().join("kept");
        let links = std::os::unix::fs::MetadataExt::nlink(&fs::metadata(&kept).unwrap());
        fs::read_dir(self.path()).unwrap().count() == 1
            && fs::read_to_string(kept).unwrap() == "secret"
            && links == 1
            && fs::metadata(self.path()).unwrap().permissions().mode() & 0o7777 == 0o700
    }

    /// What unpacking these layers gives; nothing outside the root may change, and a refused image leaves no root.
    fn attack(&self, layers: &[&[Entry<'_>]]) -> Result<PathBuf, String> {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let layers: Vec<_> = layers
            .iter()
            .enumerate()
            .map(|(number, entries)| layer(folder.path(), &number.to_string(), entries))
            .collect();
        let root = self.folder.path().join("root");
        let _ = fs::remove_dir_all(&root);
        let result = unpack(&layers, &root);
        assert!(self.is_untouched(), "{result:?}");
        assert_eq!(root.exists(), result.is_ok(), "{result:?}");
        let names = fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.file_name());
        assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("partial")), "a partial folder is left");
        result.map(|()| root).map_err(|error| error.to_string())
    }
}

const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;
const FOLDER: EntryType = EntryType::Directory;

#[test]
fn what_leads_out_of_the_root_is_refused() {
    let outside = Outside::new();
    let target = outside.path().display().to_string();
    let secret = format!("{target}/kept");
    let attacks: &[&[&[Entry<'_>]]] = &[
        &[&[("../outside/x", FILE, "x")]],
        &[&[("a/../../outside/x", FILE, "x")]],
        &[&[("link", LINK, &target), ("link/x", FILE, "x")]],
        // Also when the link comes in a lower layer, or by way of another link.
        &[&[("link", LINK, &target)], &[("link/x", FILE, "x")]],
        &[&[("one", LINK, "two"), ("two", LINK, &target), ("one/x", FILE, "x")]],
        &[&[("link", LINK, &target), ("link/deep/er", FOLDER, "")]],
        &[&[("link", LINK, &target), ("link/y", LINK, "kept")]],
        // Relative links that climb.
        &[&[("link", LINK, "../outside")]],
        &[&[("a/b", LINK, "../../outside")]],
        // Hard links, directly and through a link.
        &[&[("hard", HARD, "../outside/kept")]],
        &[&[("hard", HARD, &secret)]],
        &[&[("soft", LINK, &secret), ("hard", HARD, "soft")]],
        &[&[("soft", LINK, &target), ("hard", HARD, "soft/kept")]],
        // What is no file at all.
        &[&[("fifo", EntryType::Fifo, "")]],
        &[&[("device", EntryType::Char, "")]],
        &[&[("device", EntryType::Block, "")]],
        &[&[("sparse", EntryType::GNUSparse, "")]],
    ];
    for (number, attack) in attacks.iter().enumerate() {
        let result = outside.attack(attack);
        assert!(result.is_err(), "attack {number}: {result:?}");
    }
}

#[test]
fn what_only_looks_dangerous_stays_inside() {
    let outside = Outside::new();
    let target = outside.path().display().to_string();
    let root = outside.attack(&[&[("/etc/x", FILE, "x")]]).unwrap();
    assert!(root.join("etc/x").is_file(), "an absolute path means the image's own root");
    // A link to a folder outside is replaced, not followed: neither content nor mode of the folder changes.
    let root = outside.attack(&[&[("link", LINK, &target)], &[("link", FOLDER, ""), ("link/x", FILE, "x")]]).unwrap();
    assert!(fs::symlink_metadata(root.join("link")).unwrap().is_dir() && root.join("link/x").is_file());
    let kept = format!("{target}/kept");
    let root = outside.attack(&[&[("link", LINK, &kept)], &[("link", FILE, "x")]]).unwrap();
    assert!(fs::symlink_metadata(root.join("link")).unwrap().is_file());
    let root = outside.attack(&[&[("a/b", FILE, "x")], &[("a", FILE, "y")]]).unwrap();
    assert!(root.join("a").is_file(), "a file replaces a folder");
    outside
        .attack(&[&[("link", LINK, &target), ("link/.wh.kept", FILE, ""), ("link/.wh..wh..opq", FILE, "")]])
        .unwrap();
    outside.attack(&[&[(".wh...", FILE, ""), (".wh..", FILE, ""), (".wh.", FILE, "")]]).unwrap();
}

#[test]
fn nobody_gets_a_setuid_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer");
    let mut builder = tar::Builder::new(File::create(&path).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_path("program").unwrap();
    header.set_mode(0o6755);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    builder.finish().unwrap();
    unpack(&[path], &folder.path().join("root")).unwrap();
    let mode = fs::metadata(folder.path().join("root/program")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

fn compressed(folder: &Path, parts: &[&[u8]]) -> PathBuf {
    let path = folder.join("layer");
    let mut file = File::create(&path).unwrap();
    for part in parts {
        let mut encoder = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    path
}

fn header(name: &str, kind: EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

#[test]
fn bombs_and_lying_sizes_are_refused_without_filling_disk_or_memory() {
    let limits = Limits { bytes: 1 << 20, entries: 100 };
    let zeros = vec![0; 8 << 20];
    let refused = |parts: &[&[u8]]| {
        let folder = tempfile::tempdir().unwrap();
        let layer = compressed(folder.path(), parts);
        let root = folder.path().join("root");
        let error = unpack_within(&[layer], &root, limits).unwrap_err().to_string();
        assert!(!root.exists());
        error
    };
    let bomb = header("bomb", FILE, 8 << 20);
    assert!(refused(&[bomb.as_bytes(), &zeros]).contains("more than the endpoint allows"));
    // A header that promises more than there is, and one that promises more than any disk.
    let lying = header("lying", FILE, 4096);
    refused(&[lying.as_bytes(), b"short"]);
    let mut huge = header("huge", FILE, 0);
    huge.as_mut_bytes()[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    huge.set_cksum();
    assert!(refused(&[huge.as_bytes(), b""]).contains("more than the endpoint allows"));
    // Names and extended headers are read into memory: not these.
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let long = header("long", kind, 8 << 20);
        assert!(refused(&[long.as_bytes(), &zeros]).contains("headers of more than a megabyte"), "{kind:?}");
    }
    let many: Vec<u8> = (0..200).flat_map(|_| header("same", FILE, 0).as_bytes().to_vec()).collect();
    assert!(refused(&[&many]).contains("more than the endpoint allows"));
}

#[test]
fn a_layer_in_several_gzip_parts_is_read_to_its_end_and_a_damaged_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (header("one", FILE, 0), header("two", FILE, 0));
    let layer = compressed(folder.path(), &[one.as_bytes(), two.as_bytes(), &[0; 1024]]);
    unpack(std::slice::from_ref(&layer), &folder.path().join("root")).unwrap();
    assert!(folder.path().join("root/one").is_file() && folder.path().join("root/two").is_file());
    let bytes = fs::read(&layer).unwrap();
    fs::write(&layer, &bytes[..bytes.len() - 12]).unwrap();
    assert!(unpack(&[layer], &folder.path().join("other")).is_err());
    assert!(!folder.path().join("other").exists());
}

fn hostile_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("a".to_owned()),
        Just("link".to_owned()),
        Just("outside".to_owned()),
        Just("kept".to_owned()),
        Just(".wh.kept".to_owned()),
        Just(".wh..wh..opq".to_owned()),
    ];
    (any::<bool>(), prop::collection::vec(part, 1..4))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

fn hostile_entry() -> impl Strategy<Value = (String, EntryType, String)> {
    let kind = prop_oneof![Just(FILE), Just(FOLDER), Just(LINK), Just(HARD), Just(EntryType::Fifo)];
    (hostile_name(), kind, prop_oneof![hostile_name(), Just("OUTSIDE".to_owned()), Just("OUTSIDE/kept".to_owned())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_layers_whatever_touch_anything_outside(
        layers in prop::collection::vec(prop::collection::vec(hostile_entry(), 0..8), 1..3)
    ) {
        let outside = Outside::new();
        let path = outside.path().display().to_string();
        let layers: Vec<Vec<_>> = layers
            .into_iter()
            .map(|entries| {
                let real = |(name, kind, target): (String, _, String)| (name, kind, target.replace("OUTSIDE", &path));
                entries.into_iter().map(real).collect()
            })
            .collect();
        let layers: Vec<Vec<Entry<'_>>> = layers
            .iter()
            .map(|entries| entries.iter().map(|(name, kind, target)| (&**name, *kind, &**target)).collect())
            .collect();
        let layers: Vec<&[Entry<'_>]> = layers.iter().map(Vec::as_slice).collect();
        // Refused or not: `attack` itself checks what is outside.
        let _ = outside.attack(&layers);
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096), gzip in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let layer = if gzip {
            compressed(folder.path(), &[&bytes])
        } else {
            let path = folder.path().join("layer");
            fs::write(&path, &bytes).unwrap();
            path
        };
        let _ = unpack(&[layer], &folder.path().join("root"));
    }
}

#[test]
fn a_whiteout_through_a_link_removes_nothing_outside() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "x").unwrap();
    let link = ("link", EntryType::Symlink, outside.to_str().unwrap());
    let layer = layer(folder.path(), "1", &[link, ("link/.wh.kept", FILE, "")]);
    let _ = unpack(&[layer], &folder.path().join("root"));
    assert!(outside.join("kept").exists());
}
