//! The lobby, when nobody has to wait in it any more.

use switchboard_core::domain::*;
use switchboard_rooms::*;

use super::bed::*;

pub(crate) async fn who_waits_only_for_a_place_gets_the_next_free_one_who_came_first_first(bed: Bed) {
    let rooms = bed.node("n1").await;
    let mut call = meta(2);
    call.settings.waiting_room_enabled = true;
    rooms.open(&room("R"), &call).await.unwrap();
    let (host, first) = (sit(&rooms, "R", 0).await.seat, sit(&rooms, "R", 1).await.seat);
    for n in 2..6 {
        let waits = Join { waits: true, ..join("R", n) };
        assert!(matches!(rooms.join(waits).await.unwrap(), Joined::Waiting { .. }));
    }
    // Who is in, and who waits, in the order of their coming.
    let people = async || {
        let seats = rooms.snapshot(&room("R")).await.unwrap().unwrap().seats;
        let (waiting, inside): (Vec<_>, Vec<_>) =
            seats.into_iter().partition(|seat| seat.connection_state == ConnectionState::Waiting);
        let numbers = |seats: Vec<Participant>| {
            let mut numbers: Vec<_> =
                seats.iter().map(|seat| (0..9).find(|n| peer(*n) == seat.peer_id).unwrap()).collect();
            numbers.sort_unstable();
            numbers
        };
        (numbers(inside), numbers(waiting))
    };
    assert_eq!(rooms.leave(&first, "left").await.unwrap(), Left::Done);
    assert_eq!(expire(&rooms).await, 0, "the waiting room is on");
    let second = sit(&rooms, "R", 1).await.seat;
    assert_eq!(people().await, (vec![0, 1], vec![2, 3, 4, 5]));

    let amend = async |change: &dyn Fn(&mut RoomMeta)| {
        assert!(matches!(rooms.amend(&room("R"), By::Operator, None, change).await.unwrap(), Amended::Done(_)));
    };
    amend(&|call| call.settings.waiting_room_enabled = false).await;
    assert_eq!(people().await, (vec![0, 1], vec![2, 3, 4, 5]), "every place is taken");
    amend(&|call| call.max_participants = 3).await;
    assert_eq!(people().await, (vec![0, 1, 2], vec![3, 4, 5]), "one place more");
    assert_eq!(rooms.leave(&second, "left").await.unwrap(), Left::Done);
    assert_eq!(expire(&rooms).await, 1);
    assert_eq!(people().await, (vec![0, 2, 3], vec![4, 5]));
    // Somebody removed makes a place, and somebody turned away from the lobby makes none.
    for (n, kicked) in [(4, 0), (2, 1)] {
        let kick = Order::Kick { peer: peer(n), ban: false, reason: None };
        assert_eq!(rooms.order(&room("R"), By::Operator, &kick).await.unwrap(), Ordered::Done(Vec::new()));
        assert_eq!(expire(&rooms).await, kicked, "{n}");
    }
    assert_eq!(people().await, (vec![0, 3, 5], vec![]));
    let joined = facts(&rooms).await.into_iter().filter(|fact| fact.kind == "joined").count();
    assert_eq!(joined, 6, "each that was let in is recorded as such");
    assert_eq!(rooms.leave(&host, "left").await.unwrap(), Left::Done);
    assert_eq!(expire(&rooms).await, 0, "nobody waits");
}
