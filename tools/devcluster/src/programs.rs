//! Paths of the programs that a cluster runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Folder of the workspace's binaries: `SWITCHBOARD_BIN_DIR` if it is set, else that of the running
/// program. A test's program is one directory below the binaries.
///
/// # Errors
/// When the running program has no path.
pub fn folder() -> anyhow::Result<PathBuf> {
    if let Some(directory) = std::env::var_os("SWITCHBOARD_BIN_DIR") {
        return Ok(PathBuf::from(directory));
    }
    let program = std::env::current_exe()?;
    let directory = program.parent().context("the running program has no directory")?;
    Ok(if directory.ends_with("deps") { directory.join("..") } else { directory.to_owned() })
}

/// Path of one of the workspace's binaries, in [`folder`].
///
/// # Errors
/// When the binary is not built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    binary_in(&folder()?, name)
}

/// Path of one of the workspace's binaries in a folder, perhaps of another version.
///
/// # Errors
/// When the binary is not there.
pub fn binary_in(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join(name);
    if !file.is_file() {
        bail!(
            "{} is not built: run `cargo build --workspace`, or set SWITCHBOARD_BIN_DIR to its folder",
            file.display()
        );
    }
    Ok(file)
}

/// Path of `program` on PATH, in `/usr/sbin`, or in `.tools` of the workspace or of a folder above
/// it, where `scripts/setup` puts its downloads.
///
/// # Errors
/// When it is in none of them.
pub fn find_program(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .chain(workspace().ancestors().map(|dir| dir.join(".tools")))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .with_context(|| format!("{program} is not installed: run scripts/setup"))
}

/// Server of the Redis protocol that tests start: the program that `REDIS_SERVER` names, a path or
/// a name on PATH, or `redis-server`.
///
/// # Errors
/// When it is not there.
pub fn redis_server() -> anyhow::Result<PathBuf> {
    redis_server_named(std::env::var_os("REDIS_SERVER"))
}

fn redis_server_named(named: Option<OsString>) -> anyhow::Result<PathBuf> {
    let Some(named) = named.filter(|named| !named.is_empty()) else { return find_program("redis-server") };
    if named.as_encoded_bytes().contains(&b'/') {
        let file = PathBuf::from(named);
        if !file.is_file() {
            bail!("REDIS_SERVER names {}, which is no file", file.display());
        }
        return Ok(file);
    }
    find_program(named.to_str().context("REDIS_SERVER is not UTF-8")?)
}

/// Path of the workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    let this = Path::new(env!("CARGO_MANIFEST_DIR"));
    this.ancestors().nth(2).unwrap_or(this)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[test]
    fn redis_server_in_the_environment_is_a_path_or_a_name() {
        let usual = redis_server_named(None).unwrap();
        assert!(usual.ends_with("redis-server"));
        assert_eq!(redis_server_named(Some("".into())).unwrap(), usual);
        assert_eq!(redis_server_named(Some(usual.clone().into())).unwrap(), usual);
        assert!(redis_server_named(Some("sh".into())).unwrap().ends_with("sh"));
        for absent in ["/no/such/server", "no-such-server"] {
            let refused = redis_server_named(Some(absent.into())).unwrap_err().to_string();
            assert!(refused.contains(absent), "{refused}");
        }
    }
}
