//! What a running gateway is told, while it does something or not.

use std::path::PathBuf;

use tokio::sync::mpsc;

/// What a running gateway is told.
#[derive(Debug)]
pub enum Order {
    /// Stop; said a second time, stop at once.
    Stop,
    /// Read the configuration in this file again.
    Reload(PathBuf),
}

/// The orders as they come.
pub(super) struct Orders {
    given: mpsc::Receiver<Order>,
    /// A file that is to be read again, once there is time for it.
    later: Option<PathBuf>,
}

impl Orders {
    pub(super) fn new(given: mpsc::Receiver<Order>) -> Orders {
        Orders { given, later: None }
    }

    /// The next.
    pub(super) async fn next(&mut self) -> Order {
        match self.later.take() {
            Some(file) => Order::Reload(file),
            None => self.heard().await,
        }
    }

    /// Completes once it is to stop; what else is asked for meanwhile is done later, once.
    pub(super) async fn stop(&mut self) {
        while let Order::Reload(file) = self.heard().await {
            self.later = Some(file);
        }
    }

    /// Never completes where nobody is left to give one.
    async fn heard(&mut self) -> Order {
        match self.given.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_meanwhile_is_done_later_and_once() {
        let (teller, given) = mpsc::channel(4);
        let mut orders = Orders::new(given);
        for file in ["a", "b"] {
            teller.send(Order::Reload(file.into())).await.expect("is heard");
        }
        teller.send(Order::Stop).await.expect("is heard");
        orders.stop().await;
        assert!(matches!(orders.next().await, Order::Reload(file) if file.as_os_str() == "b"));
        teller.send(Order::Stop).await.expect("is heard");
        assert!(matches!(orders.next().await, Order::Stop));
    }
}
