//! Systems without Unix sockets: everything says so.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "private sockets need Unix sockets, which this system has not",
    ))
}

/// Cannot be made here.
#[derive(Debug)]
pub struct LocalListener(std::convert::Infallible);

impl LocalListener {
    /// Always an error here.
    pub async fn bind(_path: impl AsRef<Path>) -> io::Result<Self> {
        unsupported()
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        match self.0 {}
    }

    /// Never called here.
    pub async fn accept(&self) -> io::Result<(LocalStream, Option<u32>)> {
        match self.0 {}
    }

    /// Never called here.
    pub async fn serve<H, F>(self, _handler: H)
    where
        H: Fn(Value) -> F + Send + Sync + 'static,
        F: Future<Output = Value> + Send + 'static,
    {
        match self.0 {}
    }
}

/// Cannot be made here.
pub type LocalStream = tokio::io::DuplexStream;

/// Always an error here.
pub async fn ask(_path: impl AsRef<Path>, _question: Value) -> io::Result<Value> {
    unsupported()
}

/// Always an error here.
pub fn default_path(_port: u16) -> io::Result<PathBuf> {
    unsupported()
}

/// Where it would be.
pub fn mcp_path(admin: &Path) -> PathBuf {
    admin.with_extension("mcp")
}
