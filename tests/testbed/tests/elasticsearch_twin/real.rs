//! The real server by itself.

use testbed::elasticsearch::{Elasticsearch, Fault, License, Options, VERSION};

pub(crate) async fn lives_and_dies_with_us() -> Result<(), Fault> {
    let options = Options {
        license: License::Trial,
        ..Options::default()
    };
    let server = Elasticsearch::start(&options).await?;
    let failed = |cause: reqwest::Error| Fault::Failed(cause.to_string());
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(failed)?;
    let ask = async |path: &str| {
        let ask = client.get(format!("{}{path}", server.url()));
        let ask = ask.basic_auth("elastic", Some(server.password()));
        ask.send().await?.text().await
    };
    let root = ask("/").await.map_err(failed)?;
    assert!(root.contains(&format!(r#""number":"{VERSION}""#)), "{root}");
    let license = ask("/_license").await.map_err(failed)?;
    assert!(license.contains(r#""trial""#), "{license}");
    let url = server.url().to_owned();
    drop(server);
    assert!(client.get(url).send().await.is_err(), "it is still there");
    Ok(())
}
