//! A store over a store.

use super::*;

type Stack = Store<Store<Mem>>;

fn stack() -> Arc<Stack> {
    Arc::new(Store::new(Store::new(MemStore::new()).unwrap()).unwrap())
}

/// While the upper layer is flushed into the lower one, and that into the root, a reader of the top sees every entry once.
#[test]
fn flushes_of_two_layers_show_the_same_throughout() {
    explore(|| {
        let top = stack();
        top.commit(pair(1)).unwrap();
        let down = beside(&top, |top| {
            top.flush().unwrap();
            top.parent().flush().unwrap();
        });
        assert_eq!(seen(&top.snapshot().unwrap()), Some(1));
        assert_eq!(top.get(&1).unwrap(), Some(1));
        down.join().unwrap();
        assert_eq!(seen(&top.parent().parent().snapshot().unwrap()), Some(1));
        assert_eq!(seen(&top.snapshot().unwrap()), Some(1));
    });
}

/// A flush of both layers at once loses nothing: what the upper one hands down is dirty in the lower one or in the root.
#[test]
fn flushes_of_two_layers_at_once_lose_nothing() {
    explore(|| {
        let top = stack();
        top.commit(pair(2)).unwrap();
        top.parent().commit(pair(1)).unwrap();
        let lower = beside(&top, |top| top.parent().flush().unwrap());
        top.flush().unwrap();
        assert_eq!(seen(&top.snapshot().unwrap()), Some(2));
        lower.join().unwrap();
        assert_eq!(seen(&top.parent().snapshot().unwrap()), Some(2));
        top.parent().flush().unwrap();
        assert_eq!(seen(&top.parent().parent().snapshot().unwrap()), Some(2));
    });
}

/// The lower layer takes the upper one's batch as one: its readers see all of it or nothing.
#[test]
fn the_lower_layer_sees_a_flush_as_one() {
    explore(|| {
        let top = stack();
        top.commit(pair(1)).unwrap();
        let flush = beside(&top, |top| top.flush().unwrap());
        seen(&top.parent().snapshot().unwrap());
        flush.join().unwrap();
        assert_eq!(seen(&top.parent().snapshot().unwrap()), Some(1));
    });
}

/// What is written to the lower layer shows in the upper one at its renewal, as one cut and not before.
#[test]
fn the_upper_layer_is_renewed_as_one() {
    explore(|| {
        let top = stack();
        let lower = beside(&top, |top| drop(top.parent().commit(pair(1)).unwrap()));
        assert_eq!(seen(&top.snapshot().unwrap()), None);
        top.refresh().unwrap();
        let renewed = seen(&top.snapshot().unwrap());
        lower.join().unwrap();
        assert_eq!(seen(&top.snapshot().unwrap()), renewed);
        top.refresh().unwrap();
        assert_eq!(seen(&top.snapshot().unwrap()), Some(1));
    });
}
