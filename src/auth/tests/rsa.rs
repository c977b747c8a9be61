//! RSA, of which ring makes no keys: tokens that were signed elsewhere, by a key that is no more.

use serde_json::json;

use super::{jwt, world};

const MODULUS: &str = "uv_pg9_oI3RPGyYuYY0aVsURaCq9u_W5W9ienR4GlO4-YWdA_FrVJGXYXnrHsdoMV_8c5GQitt9Qo5gE5o-UxZ3ggaZXbWrK25bn7_RMZnbIX1klAJZonlfWc_fJoa0t-Rs4GXZB7QNuTBRElaPLYDpx0N6gAGlsRIQQ11SbeNg4eBMTg9Nz-5CvUaEUxWY6aJFb9OQsvLBS4eOyeyMLeyd0lwXi0A6qJDzGLE_k8hi_3853ra3Djo-R_P4WsCaEm1UEmY1q5dAsJgjd_kc1uW9AcleVuVtq8dQQ_23ckX8R283DxwRlBqOvBgd35iIbwAYT5jvR6Wjk4sPfRF2hsw";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL3IuZXhhbXBsZS9tY3AiLCJzdWIiOiJhbm4iLCJleHAiOjMyNTAzNjgwMDAwfQ.J7cmMnhwOAR0VSzUfYUjSUtpaO5qbXFijAUiCb3A5MG9zWNKl7M1e9xxwZThb_OuenZcON5X0nO51JZmlZR57OBy_PPdsL-ELLCXk9qaViZ1BzBWuKz-JmSH96zD3FlF3LHmwRsDWNK1H7T5OuYaL0qkSqPGdVvrQ4K6qzUQfnNLm5tgKPKgTMBwwZgi3XgxmyxD_Ym0K8bS9qV7pUETm6sJ1OrdnUDL5Ql4kc41SnXOaBjeM16LQgn2C3Vp_x_U5lwk4d5erSWFFYsx13T6KFN7arxpi1B8zgX8z48Qw5eKH7PM5WnDWMBsOmcwRhwvhqw6jFqKpLeKO5ZWBxloIg";
const PS256: &str = "eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL3IuZXhhbXBsZS9tY3AiLCJzdWIiOiJhbm4iLCJleHAiOjMyNTAzNjgwMDAwfQ.OH3dDjwNQHJAOszSFw014gWqFweYKECugkOhGAJVFBkSmL8hI5J7knc_L6ZIdSM5dvFmJ81GF7hGBOiebiaOROdd0GJNx1jeMSL1uYVIW25FIkcd2Pxhkk_rBe-LuBIdQZWQzSTOzuqI7DPjkTIlwGKRtHmCPGLrui0XL35aafvh-CGHMwmOr80ABansFg5rfqfqYv6BPBv0g33ZW2dCeu6PYnt9gjnqOIGg6HTlyqnQ0H2tniNGWeDMbxh0zo1Pzihq3-FEVPZn7HonnS1UnPvSVE9jm2d9aCk7bKr2fI4o19zYK78EB4-yL32QuvCLsWh7IjhR7PbKxzi0tSvXTw";

#[tokio::test(start_paused = true)]
async fn both_kinds_of_rsa_signatures_are_checked() {
    let key = json!({ "kty": "RSA", "kid": "rsa", "use": "sig", "n": MODULUS, "e": "AQAB" });
    let mut config = jwt(|_| {});
    config.auth.values_mut().for_each(|auth| auth.scopes.clear());
    let world = world(&config, Some(vec![key]), false);
    for token in [RS256, PS256] {
        assert_eq!(world.with(token).await.unwrap().name, "ann");
        let (text, signature) = token.rsplit_once('.').unwrap();
        let swapped = format!("{text}.{}", signature.chars().rev().collect::<String>());
        assert_eq!(world.why(&swapped).await.0, 401);
    }
    let (head, rest) = RS256.split_once('.').unwrap();
    let mixed = format!("{head}.{}", PS256.split_once('.').unwrap().1);
    assert_eq!(world.why(&mixed).await.1, "it is not signed by its issuer");
    assert!(!head.is_empty() && !rest.is_empty());
}
