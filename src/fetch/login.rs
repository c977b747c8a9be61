//! What `docker login` left, in the file or with the helper that Docker has it.

use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};

use super::FetchError;

/// How somebody is known to a registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Not at all.
    Nobody,
    /// By name and password.
    Password(String, String),
    /// By something that only some registries take, and each in its own way.
    Identity,
}

impl Login {
    /// The one for a registry, for which Docker may have to ask a program that asks somebody in turn.
    pub(super) async fn of(registry: &str, patience: Duration) -> Result<Self, FetchError> {
        let name = registry.to_owned();
        let found = within(patience, move || get_credential(&name)).await;
        let told = |why: String| FetchError::Credentials(registry.to_owned(), why);
        match found.map_err(told)? {
            Ok(DockerCredential::UsernamePassword(name, password)) => Ok(Self::Password(name, password)),
            Ok(DockerCredential::IdentityToken(_)) => Ok(Self::Identity),
            Err(
                CredentialRetrievalError::NoCredentialConfigured
                | CredentialRetrievalError::ConfigNotFound
                | CredentialRetrievalError::ConfigReadError
                // No helper, or one that has nothing for this registry: most of what is pulled is for everybody, and a
                // registry that wants to know who asks says so.
                | CredentialRetrievalError::HelperCommunicationError
                | CredentialRetrievalError::HelperFailure { .. },
            ) => Ok(Self::Nobody),
            Err(error) => Err(told(error.to_string())),
        }
    }
}

/// What a program says that may never say anything, and then is left to itself.
async fn within<T: Send + 'static>(patience: Duration, ask: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let asked = tokio::task::spawn_blocking(ask);
    match tokio::time::timeout(patience, asked).await {
        Ok(said) => said.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "Docker's helper has not said them for {} s",
            patience.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_helper_that_says_nothing_is_not_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.unwrap();
        let (hold, held) = channel::<()>();
        let said = runtime.block_on(within(Duration::from_millis(10), move || held.recv()));
        assert!(said.unwrap_err().contains("has not said them"));
        assert_eq!(runtime.block_on(within(Duration::from_secs(60), || 7)), Ok(7));
        runtime.shutdown_background();
        drop(hold);
    }
}
