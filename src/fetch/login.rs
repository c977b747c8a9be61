//! What `docker login` left, in the file or with the helper that Docker has it.

use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::FetchError;

/// Name and password for a registry; nothing where there are none.
pub(super) fn credentials(registry: &str) -> Result<Option<(String, String)>, FetchError> {
    match docker_credential::get_credential(registry) {
        Ok(DockerCredential::UsernamePassword(name, password)) => Ok(Some((name, password))),
        Ok(DockerCredential::IdentityToken(_)) => Err(FetchError::Credentials(
            registry.to_owned(),
            "there is an identity token, which is not supported: log in with a password or an access token".to_owned(),
        )),
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError
            // No helper, or one that has nothing for this registry: most of what is pulled is for everybody, and a registry
            // that wants to know who asks says so.
            | CredentialRetrievalError::HelperCommunicationError
            | CredentialRetrievalError::HelperFailure { .. },
        ) => Ok(None),
        Err(error) => Err(FetchError::Credentials(registry.to_owned(), error.to_string())),
    }
}
