//! Single documents over HTTP, for what the router itself wants to know: keys and tokens of authorization servers.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};

use super::client::{Client, Letter};
use super::link::AGENT;
use super::reply::{Fault, whole};

/// Gets a document of `limit` bytes at most. No redirect is followed: keys come from where they were looked for.
pub async fn get(uri: Uri, ca_file: Option<&Path>, limit: usize) -> Result<Bytes, String> {
    let request = Request::new(Letter::empty());
    match answer(request, uri, ca_file, limit).await? {
        (StatusCode::OK, body) => Ok(body),
        (status, _) => Err(format!("it answered with HTTP {status}")),
    }
}

/// Posts a form, and gives status and document back.
pub(super) async fn post(
    uri: Uri,
    ca_file: Option<&Path>,
    form: String,
    authorization: Option<HeaderValue>,
    limit: usize,
) -> Result<(StatusCode, Bytes), String> {
    let mut request = Request::new(Letter::new(form.into(), Arc::default()));
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
    answer(request, uri, ca_file, limit).await
}

async fn answer(
    mut request: Request<Letter>,
    uri: Uri,
    ca_file: Option<&Path>,
    limit: usize,
) -> Result<(StatusCode, Bytes), String> {
    let client = Client::net(uri.scheme_str() == Some("https"), ca_file).map_err(|error| error.to_string())?;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, AGENT);
    let response = client.send(request).await.map_err(|error| error.why)?;
    let status = response.status();
    match whole(response.into_body(), limit).await {
        Ok(body) => Ok((status, body)),
        Err(Fault::TooLong(limit)) => Err(format!("its answer is longer than {limit} bytes")),
        Err(Fault::Broken(why)) => Err(why),
    }
}
