//! The lobby after the waiting room is switched off.

use switchboard_core::domain::*;
use switchboard_rooms::*;

use super::testbed::*;

pub(crate) async fn users_who_wait_only_for_a_place_are_admitted_in_order_of_arrival(bed: TestBed) {
    let rooms = bed.node("n1").await;
    let mut call = meta(2);
    call.settings.waiting_room_enabled = true;
    rooms.open(&room("R"), &call).await.unwrap();
    let (host, first) = (sit(&rooms, "R", 0).await.seat, sit(&rooms, "R", 1).await.seat);
    for n in 2..6 {
        let waits = Join { waits: true, ..join("R", n) };
        assert!(matches!(rooms.join(waits).await.unwrap(), Joined::Waiting { .. }));
    }
    // Participants and waiting users, in the order of their arrival.
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
    assert_eq!(rooms.leave(&first, "left").await.unwrap(), LeaveOutcome::Done);
    assert_eq!(expire(&rooms).await, 0, "the waiting room is on");
    let second = sit(&rooms, "R", 1).await.seat;
    assert_eq!(people().await, (vec![0, 1], vec![2, 3, 4, 5]));

    let amend = async |change: &dyn Fn(&mut RoomMeta)| {
        assert!(matches!(
            rooms.update(&room("R"), Caller::Operator, None, change).await.unwrap(),
            UpdateOutcome::Done(_)
        ));
    };
    amend(&|call| call.settings.waiting_room_enabled = false).await;
    assert_eq!(people().await, (vec![0, 1], vec![2, 3, 4, 5]), "every place is taken");
    amend(&|call| call.max_participants = 3).await;
    assert_eq!(people().await, (vec![0, 1, 2], vec![3, 4, 5]), "one more place");
    assert_eq!(rooms.leave(&second, "left").await.unwrap(), LeaveOutcome::Done);
    assert_eq!(expire(&rooms).await, 1);
    assert_eq!(people().await, (vec![0, 2, 3], vec![4, 5]));
    // A removed participant frees a place, and a removed waiting user does not.
    for (n, kicked) in [(4, 0), (2, 1)] {
        let kick = ModerationCommand::Kick { peer: peer(n), ban: false, reason: None };
        assert_eq!(
            rooms.moderate(&room("R"), Caller::Operator, &kick).await.unwrap(),
            ModerationOutcome::Done(Vec::new())
        );
        assert_eq!(expire(&rooms).await, kicked, "{n}");
    }
    assert_eq!(people().await, (vec![0, 3, 5], vec![]));
    let joined = facts(&rooms).await.into_iter().filter(|fact| fact.kind == "joined").count();
    assert_eq!(joined, 6, "each admission has a fact");
    assert_eq!(rooms.leave(&host, "left").await.unwrap(), LeaveOutcome::Done);
    assert_eq!(expire(&rooms).await, 0, "the lobby is empty");
}
