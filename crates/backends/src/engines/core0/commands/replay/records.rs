//! What a node's Redis keeps of containers, as it is found again.

use super::super::super::record;
use super::node::Node;

#[tokio::test]
async fn nothing_is_written_of_a_container_that_nobody_would_sweep() {
    let node = Node::start().await;
    let client = node.client();
    // Its record went before the signal was written down.
    record::write_signal(&client.links, "one", 1, 15).await.unwrap();
    record::write_end(&client.links, "two", &record::End::default()).await.unwrap();
    let mut marks = record::marks(&client.links).await.unwrap();
    marks.sort();
    assert_eq!(marks, ["one", "two"]);
}

#[tokio::test]
async fn what_was_compared_was_so_in_this_life_of_the_redis() {
    let node = Node::start().await;
    let client = node.client();
    let marks = async || record::compared(&client.links).await.unwrap().expect("a Redis tells its life");
    let life = marks().await.life;
    record::write_compared(&client.links, &life, &["one".to_owned(), "two".to_owned()]).await.unwrap();
    record::write_compared(&client.links, "another", &["three".to_owned()]).await.unwrap();
    record::forget_compared(&client.links, &life, &[&"one".to_owned()]).await.unwrap();
    let compared = marks().await;
    assert_eq!((compared.life, compared.marks.into_iter().collect::<Vec<_>>()), (life, vec!["two".to_owned()]));
}
