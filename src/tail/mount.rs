//! Whether a file is mounted by itself. A container that mounts the sensor's file, not its folder, keeps the old file for ever once the sensor has rotated it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const MOUNTS: &str = "/proc/self/mountinfo";
/// Which word of a line is the mount point.
const MOUNT_POINT: usize = 4;

/// Whether `path` is itself a mount point, and not only below one.
///
/// # Errors
/// When the kernel does not say, or there is no such path.
pub fn is_mounted(path: &Path) -> io::Result<bool> {
    let path = fs::canonicalize(path)?;
    let mounts = fs::read(MOUNTS)?;
    Ok(mount_points(&mounts).any(|point| point == path))
}

fn mount_points(mounts: &[u8]) -> impl Iterator<Item = PathBuf> {
    let points = mounts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(MOUNT_POINT));
    points.map(|point| OsString::from_vec(unescaped(point)).into())
}

/// Blanks, tabs, newlines and backslashes stand there as octal numbers: `\040`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.split_first_chunk::<3>().filter(|_| *first == b'\\').and_then(|(digits, behind)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 8).ok()?, behind))
        });
        let (byte, behind) = code.unwrap_or((*first, behind));
        plain.push(byte);
        rest = behind;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let mounts = b"24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n31 24 8:1 /var/log/s/eve.json /alerts/eve.json ro - ext4 /dev/sda1 rw\n32 24 0:5 / /mnt/a\\040b\\134c rw - tmpfs t rw\n";
        let points: Vec<PathBuf> = mount_points(mounts).collect();
        assert_eq!(points, [PathBuf::from("/"), "/alerts/eve.json".into(), "/mnt/a b\\c".into()]);
        assert_eq!(mount_points(b"short\n\n\xff \\").count(), 0);
    }

    #[test]
    fn a_file_in_a_folder_is_not_mounted_and_a_root_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("eve.json");
        fs::write(&file, "").unwrap();
        assert!(!is_mounted(&file).unwrap());
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(is_mounted(&folder.path().join("missing")).is_err());
    }
}
