//! Why a child could not be started, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::Spec;

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program.
    #[error("program `{program}` was not found: {}", not_found_hint(.program))]
    NotFound {
        /// The program asked for.
        program: String,
    },
    /// There is such a file, but the system will not run it.
    #[error(
        "program `{program}` is there but cannot be run: make it executable (chmod +x), check that the interpreter in \
         its first line is installed, and that it is built for this machine"
    )]
    NotExecutable {
        /// The program asked for.
        program: String,
    },
    /// The working directory is missing or not a directory.
    #[error("`{program}` cannot start in {}: create that directory, or correct `cwd`", .directory.display())]
    BadDirectory {
        /// The program asked for.
        program: String,
        /// The directory asked for.
        directory: PathBuf,
    },
    /// Anything else, most often a limit of the system that was met.
    #[error("program `{program}` could not be started: {error}{}", other_hint(.error))]
    Other {
        /// The program asked for.
        program: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl SpawnError {
    /// Whether a repeat is pointless until somebody changes the configuration or the machine.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::NotExecutable { .. } | Self::BadDirectory { .. } => true,
            Self::Other { error, .. } => {
                matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong
                )
            }
        }
    }

    /// Sorts what the system said about starting `spec`.
    pub(super) fn from_io(spec: &Spec, error: io::Error) -> Self {
        let program = spec.program.clone();
        match error.kind() {
            // A script whose interpreter is missing fails with "not found" too, though the file is there.
            io::ErrorKind::NotFound if names_a_file(spec) => Self::NotExecutable { program },
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound { program },
            io::ErrorKind::PermissionDenied => Self::NotExecutable { program },
            _ if is_wrong_format(&error) => Self::NotExecutable { program },
            _ => Self::Other { program, error },
        }
    }
}

/// Whether the program is given as a path and a file is there.
fn names_a_file(spec: &Spec) -> bool {
    let path = Path::new(&spec.program);
    let from = spec.cwd.as_deref().unwrap_or(Path::new(""));
    path.components().count() > 1 && from.join(path).is_file()
}

/// "Exec format error": neither a binary for this machine nor a script with a first line that names its interpreter.
fn is_wrong_format(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error());
    #[cfg(windows)]
    return error.raw_os_error() == Some(193); // ERROR_BAD_EXE_FORMAT
}

fn not_found_hint(program: &str) -> &'static str {
    if Path::new(program).components().count() > 1 {
        "check the path"
    } else if cfg!(windows) {
        "install it, give its full path, or name its extension (`npx.cmd`): only `.exe` is tried"
    } else {
        "install it, or give its full path; only the directories of the router's PATH were searched"
    }
}

fn other_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => "; the system is short of processes or memory",
        io::ErrorKind::InvalidInput => "; look for a NUL in its name, arguments or variables",
        io::ErrorKind::ArgumentListTooLong => "; shorten its arguments or variables",
        io::ErrorKind::ExecutableFileBusy => "; the file is being written, a repeat may do",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waiting_may_mend_is_not_permanent() {
        let sort = |kind: io::ErrorKind| SpawnError::from_io(&Spec::default(), kind.into()).is_permanent();
        assert!(sort(io::ErrorKind::NotFound));
        assert!(sort(io::ErrorKind::PermissionDenied));
        assert!(sort(io::ErrorKind::InvalidInput));
        assert!(!sort(io::ErrorKind::WouldBlock));
        assert!(!sort(io::ErrorKind::ExecutableFileBusy));
    }

    #[test]
    fn messages_say_what_to_do() {
        let text = SpawnError::NotFound { program: "npx".into() }.to_string();
        assert!(text.contains("`npx`") && text.contains("install it"), "{text}");
        let text = SpawnError::NotFound {
            program: "./bin/x".into(),
        }
        .to_string();
        assert!(text.contains("check the path"), "{text}");
        let text = SpawnError::BadDirectory {
            program: "npx".into(),
            directory: "/nowhere".into(),
        }
        .to_string();
        assert!(text.contains("/nowhere") && text.contains("`cwd`"), "{text}");
    }
}
