//! The embedder's functions, typed.

use std::future::Future;
use std::sync::Arc;

use ringfence_abi::{ErrorCode, Value};
use ringfence_isolation::BoxFuture;

use crate::value::{FromValues, IntoValue};

/// A function the embedder offers: from a tuple of arguments to a future of one result.
///
/// Every `Fn((A, B, …)) -> impl Future<Output = R>` is one, with argument and result types that
/// cross the wall. It may be called from many instances at once. An instance that is stopped drops
/// the future in the middle.
pub trait HostFunction<A>: Send + Sync + 'static {
    /// Calls it.
    fn call(&self, arguments: A) -> impl Future<Output = impl IntoValue> + Send + 'static;
}

impl<A, F, T> HostFunction<A> for F
where
    F: Fn(A) -> T + Send + Sync + 'static,
    T: Future<Output: IntoValue> + Send + 'static,
{
    fn call(&self, arguments: A) -> impl Future<Output = impl IntoValue> + Send + 'static {
        self(arguments)
    }
}

/// The function without its types. Arguments that do not fit are answered with `Invalid`.
pub(crate) fn erase<A: FromValues>(
    function: impl HostFunction<A>,
) -> impl Fn(Vec<Value>) -> BoxFuture<'static, Result<Vec<Value>, ErrorCode>> + Send + Sync + 'static {
    let function = Arc::new(function);
    move |values| {
        let function = function.clone();
        Box::pin(async move {
            let arguments = A::from_values(values).map_err(|_| ErrorCode::Invalid)?;
            let result = function.call(arguments);
            Ok(result.await.into_payload().into_iter().collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn call<A: FromValues>(function: impl HostFunction<A>, values: Vec<Value>) -> Result<Vec<Value>, ErrorCode> {
        erase(function)(values).await
    }

    #[tokio::test]
    async fn arguments_and_result_are_of_the_functions_types() {
        let add = |(a, b): (u32, u32)| async move { a + b };
        assert_eq!(call(add, vec![Value::U32(1), Value::U32(2)]).await, Ok(vec![Value::U32(3)]));
    }

    #[tokio::test]
    async fn a_function_may_return_nothing() {
        let nothing = |(): ()| async move {};
        assert_eq!(call(nothing, vec![]).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn arguments_that_do_not_fit_are_invalid() {
        let identity = |(a,): (u32,)| async move { a };
        assert_eq!(call(identity, vec![Value::Bool(true)]).await, Err(ErrorCode::Invalid));
        assert_eq!(call(identity, vec![]).await, Err(ErrorCode::Invalid));
    }
}
