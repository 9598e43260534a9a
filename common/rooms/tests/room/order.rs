//! The order of succession and the lobby: what one participant can repeat costs the same in a small
//! and in a large room.

use redis::cmd;
use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::{Audience, Envelope};
use switchboard_rooms::*;

use super::testbed::*;

fn waits(n: usize) -> Join {
    Join { waits: true, ..join("R", n) }
}

fn waiting(joined: Joined) -> std::sync::Arc<Seat> {
    match joined {
        Joined::Waiting { seat, .. } => seat,
        other => panic!("not in the lobby: {other:?}"),
    }
}

async fn host(rooms: &Rooms) -> UserId {
    match rooms.peek(&room("R")).await.unwrap() {
        RoomPeek::Open { host, .. } => host,
        other => panic!("{other:?}"),
    }
}

async fn set_role(rooms: &Rooms, n: usize, role: Role) {
    let command = ModerationCommand::Role { peer: peer(n), role };
    let outcome = rooms.moderate(&room("R"), Caller::Operator, &command).await.unwrap();
    assert_eq!(outcome, ModerationOutcome::Done(Vec::new()));
}

pub(crate) async fn the_next_host_is_the_longest_present_of_the_highest_role(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let mut seats = Vec::new();
    // User 8 asked first and is admitted last.
    sit(&rooms, "R", 0).await;
    waiting(rooms.join(waits(8)).await.unwrap());
    for n in 1..=6 {
        let role = if n == 1 { Role::Guest } else { Role::Participant };
        seats.push(seated(rooms.join(Join { role, ..join("R", n) }).await.unwrap()).seat);
    }
    let admit = ModerationCommand::Admit(Some(peer(8)));
    rooms.moderate(&room("R"), Caller::Operator, &admit).await.unwrap();
    // The order is by arrival and not by the time of the promotion. A reconnecting seat counts.
    set_role(&rooms, 5, Role::Moderator).await;
    set_role(&rooms, 4, Role::Moderator).await;
    rooms.detach(&seats[3]).await.unwrap();
    let mut leaves = vec![0];
    let mut hosts = Vec::new();
    while let Some(n) = leaves.pop() {
        let kick = ModerationCommand::Kick { peer: peer(n), ban: false, reason: None };
        rooms.moderate(&room("R"), Caller::Operator, &kick).await.unwrap();
        let next = host(&rooms).await;
        let Some(next) = (1..9).find(|n| user(*n) == next) else { break };
        if hosts.last() == Some(&next) {
            break;
        }
        hosts.push(next);
        leaves.push(next);
        if hosts.len() == 2 {
            // A node of an older version keeps no order.
            let key = bed.keys().order(rooms.partition_of(&room("R")), &room("R"));
            let mut deleted = 0;
            for server in bed.servers() {
                // On a cluster only one server has the key.
                deleted += server.query::<i64>(cmd("DEL").arg(&key)).await.unwrap_or(0);
            }
            assert_eq!(deleted, 1);
        }
    }
    assert_eq!(hosts, [4, 5, 2, 3, 6, 8, 1]);
}

pub(crate) async fn the_backend_of_an_app_makes_a_participant_host_who_keeps_the_role(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &RoomMeta { host: UserId::nobody(), ..meta(20) }).await.unwrap();
    let first = sit(&rooms, "R", 1).await.seat;
    sit(&rooms, "R", 2).await;
    set_role(&rooms, 2, Role::Host).await;
    assert_eq!(host(&rooms).await, user(2));
    let demote = ModerationCommand::Role { peer: peer(2), role: Role::Moderator };
    let outcome = rooms.moderate(&room("R"), Caller::Operator, &demote).await.unwrap();
    assert_eq!(outcome, ModerationOutcome::Above, "a host keeps the role");
    // Such a host is no stand-in: the role outlasts a second one, and the host's absence.
    set_role(&rooms, 1, Role::Host).await;
    assert_eq!(host(&rooms).await, user(1));
    let roles = async || {
        let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
        snapshot.seats.into_iter().map(|seat| seat.role).collect::<Vec<_>>()
    };
    assert_eq!(roles().await, [Role::Host, Role::Host]);
    rooms.leave(&first, "left").await.unwrap();
    assert_eq!((host(&rooms).await, roles().await), (user(2), vec![Role::Host]));
}

pub(crate) async fn an_event_about_the_lobby_is_logged_once_and_is_for_moderators_alone(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n2").await;
    one.open(&room("R"), &meta(20)).await.unwrap();
    let mut seats = Vec::new();
    for n in 0..4 {
        seats.push(sit(if n == 0 { &one } else { &two }, "R", n).await);
    }
    set_role(&one, 1, Role::Moderator).await;
    one.detach(&seats[0].seat).await.unwrap();
    let before = seats[3].id;
    waiting(two.join(waits(7)).await.unwrap());
    let is_request = |envelope: &Envelope<'_>| matches!(envelope, Envelope::Event { kind: EventKind::JoinRequest, .. });
    match next_envelope(&mut events, is_request).await {
        Envelope::Event { to: Audience::Moderators, event, .. } => assert!(event.contains(user(7).as_str())),
        other => panic!("{other:?}"),
    }
    set_role(&one, 2, Role::Moderator).await;
    set_role(&one, 1, Role::Participant).await;
    waiting(two.join(waits(8)).await.unwrap());
    let requests = async |n: usize| {
        let found = two.read(&room("R"), &peer(n), before).await.unwrap().unwrap();
        let found = found.into_iter().filter(|entry| entry.event().contains("room:join-request"));
        found.filter_map(|entry| (7..9).find(|n| entry.event().contains(user(*n).as_str()))).collect::<Vec<_>>()
    };
    assert_eq!(requests(0).await, [7, 8], "the host is away, and reads the log on return");
    assert_eq!(requests(3).await, [0; 0], "a participant");
    assert_eq!(requests(1).await, [7], "a moderator until the second request");
    // The open request once with the log and once with the promotion.
    assert_eq!(requests(2).await, [7, 7, 8], "a moderator from the second request on");
    let resumed = resumed(one.attach(attach("R", 0, 9, seats[0].id)).await.unwrap());
    let missed = resumed.missed.iter().filter(|entry| entry.event().contains("room:join-request")).count();
    assert_eq!(missed, 2);
}

pub(crate) async fn one_user_has_a_bounded_number_of_seats(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(100)).await.unwrap();
    let device = |n: usize| Join { pid: format!("pid-{n}"), handle: SessionHandle(n as u64), ..join("R", 1) };
    let mut seats = Vec::new();
    for n in 0..bed.options.devices_max as usize {
        seats.push(seated(rooms.join(device(n)).await.unwrap()).seat);
    }
    assert!(matches!(rooms.join(device(100)).await.unwrap(), Joined::TooManyDevices));
    rooms.detach(&seats[3]).await.unwrap();
    let reload = Join { old_pid: Some("pid-3".into()), ..device(101) };
    assert_eq!(seated(rooms.join(reload).await.unwrap()).seat.peer.as_str(), format!("{}#4", user(1)));
    // The first device leaves. Admission finds the seats of the others.
    rooms.leave(&seats[0], "left").await.unwrap();
    let (_, standing) = rooms.peek_for(&room("R"), &user(1), &Proof::default()).await.unwrap();
    assert!(standing.seated);
    // All of them leave at the same time.
    let kick = ModerationCommand::Kick { peer: seats[1].peer.clone(), ban: false, reason: None };
    rooms.moderate(&room("R"), Caller::Operator, &kick).await.unwrap();
    assert!(rooms.snapshot(&room("R")).await.unwrap().unwrap().seats.is_empty());
}

pub(crate) async fn what_one_guest_can_repeat_does_not_read_every_seat(mut bed: TestBed) {
    const PEOPLE: usize = 200;
    const PLACES: u32 = 200;
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(PLACES)).await.unwrap();
    for n in 0..PEOPLE {
        sit(&rooms, "R", n).await;
    }
    let before = bed.calls_of("hgetall").await;
    for n in PEOPLE..2 * PEOPLE {
        let guest = Join { waits: true, ..join("R", n) };
        let seat = waiting(rooms.join(guest).await.unwrap());
        rooms.leave(&seat, "left").await.unwrap();
        assert!(matches!(rooms.join(join("R", n)).await.unwrap(), Joined::Full));
    }
    assert_eq!(bed.calls_of("hgetall").await, before);
    // A process that has not read the room yet reads it once.
    let other = bed.node("n2").await;
    for n in PEOPLE..2 * PEOPLE {
        assert!(matches!(other.join(join("R", n)).await.unwrap(), Joined::Full));
    }
    assert_eq!(bed.calls_of("hgetall").await, before + 1);
}

pub(crate) async fn a_stand_in_does_nothing_that_outlasts_the_hosts_absence(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let owner = sit(&rooms, "R", 0).await.seat;
    let second = sit(&rooms, "R", 1).await.seat;
    sit(&rooms, "R", 2).await;
    rooms.leave(&owner, "left").await.unwrap();
    assert_eq!(host(&rooms).await, user(1));
    let caller = |action| Caller::Seat { seat: &second, action };
    assert_eq!(rooms.end_as_host(&second, "ended").await.unwrap(), Ended::StandIn);
    let hand_over = rooms.update(&room("R"), caller(Action::TransferHost), Some(&peer(2)), |_| {}).await.unwrap();
    assert_eq!(hand_over, UpdateOutcome::Refused(ModerationOutcome::StandIn));
    let role = |role| ModerationCommand::Role { peer: peer(2), role };
    let kick = |ban| ModerationCommand::Kick { peer: peer(2), ban, reason: None };
    for (action, command, outcome) in [
        (Action::SetRole, role(Role::Moderator), ModerationOutcome::StandIn),
        (Action::Kick, kick(true), ModerationOutcome::StandIn),
        (Action::SetRole, role(Role::Guest), ModerationOutcome::Done(Vec::new())),
        (Action::Kick, kick(false), ModerationOutcome::Done(Vec::new())),
    ] {
        assert_eq!(rooms.moderate(&room("R"), caller(action), &command).await.unwrap(), outcome);
    }
    let lock: fn(&mut RoomMeta) = |meta| meta.locked = true;
    let rename: fn(&mut RoomMeta) = |meta| meta.name = "Mine".into();
    let silence: fn(&mut RoomMeta) = |meta| meta.settings.chat_enabled = false;
    let shrink: fn(&mut RoomMeta) = |meta| meta.max_participants = 2;
    for (action, change) in
        [(Action::Lock, lock), (Action::Update, rename), (Action::Update, silence), (Action::Update, shrink)]
    {
        let updated = rooms.update(&room("R"), caller(action), None, change).await.unwrap();
        assert_eq!(updated, UpdateOutcome::Refused(ModerationOutcome::StandIn));
    }
    // The owner is host again on return, and may end the call.
    let given = None;
    let owner = seated(rooms.join(Join { given, pid: "back".into(), ..join("R", 0) }).await.unwrap()).seat;
    assert_eq!(host(&rooms).await, user(0));
    assert_eq!(rooms.end_as_host(&second, "ended").await.unwrap(), Ended::Denied);
    // A host by transfer is the host by right.
    sit(&rooms, "R", 3).await;
    let hand_over = |meta: &mut RoomMeta| meta.host = user(1);
    let caller = Caller::Seat { seat: &owner, action: Action::TransferHost };
    let done = rooms.update(&room("R"), caller, Some(&peer(1)), hand_over).await.unwrap();
    assert!(matches!(done, UpdateOutcome::Done(_)));
    assert_eq!(rooms.end_as_host(&second, "ended").await.unwrap(), Ended::Done);
}

pub(crate) async fn a_moderator_who_stands_in_does_what_a_moderator_may_do_and_no_more(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let owner = sit(&rooms, "R", 0).await.seat;
    let second = sit(&rooms, "R", 1).await.seat;
    let promote = ModerationCommand::Role { peer: peer(1), role: Role::Moderator };
    rooms.moderate(&room("R"), Caller::Operator, &promote).await.unwrap();
    rooms.leave(&owner, "left").await.unwrap();
    assert_eq!(host(&rooms).await, user(1));
    let caller = |action| Caller::Seat { seat: &second, action };
    let rename = |meta: &mut RoomMeta| meta.name = "Mine".into();
    let renamed = rooms.update(&room("R"), caller(Action::Update), None, rename).await.unwrap();
    assert_eq!(renamed, UpdateOutcome::Refused(ModerationOutcome::StandIn));
    let lock = |meta: &mut RoomMeta| meta.locked = true;
    let locked = rooms.update(&room("R"), caller(Action::Lock), None, lock).await.unwrap();
    assert!(matches!(locked, UpdateOutcome::Done(_)));
    // The lock does not keep the owner out.
    let owner = Join { given: None, pid: "back".into(), meta_version: 2, ..join("R", 0) };
    seated(rooms.join(owner).await.unwrap());
    assert_eq!(host(&rooms).await, user(0));
}

pub(crate) async fn in_a_call_of_a_backend_those_moderate_whom_it_or_a_role_allows(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &RoomMeta { host: UserId::nobody(), ..meta(20) }).await.unwrap();
    // Nobody hosts, so nobody may do what a host may.
    let first = sit(&rooms, "R", 1).await.seat;
    let moderator = Join { role: Role::Moderator, ..join("R", 2) };
    let moderator = seated(rooms.join(moderator).await.unwrap()).seat;
    sit(&rooms, "R", 3).await;
    assert_eq!(host(&rooms).await, UserId::nobody());
    let mute = |n| ModerationCommand::Mute { peer: peer(n), kind: MediaKind::Audio };
    let by = |seat, action| Caller::Seat { seat, action };
    let run = async |caller: Caller<'_>, command: ModerationCommand| {
        rooms.moderate(&room("R"), caller, &command).await.unwrap()
    };
    assert_eq!(run(by(&first, Action::Mute), mute(3)).await, ModerationOutcome::Denied);
    assert_eq!(run(by(&moderator, Action::Mute), mute(3)).await, ModerationOutcome::Done(Vec::new()));
    let promote = ModerationCommand::Role { peer: peer(3), role: Role::Moderator };
    assert_eq!(run(by(&moderator, Action::SetRole), promote.clone()).await, ModerationOutcome::Denied);
    assert_eq!(rooms.end_as_host(&moderator, "ended").await.unwrap(), Ended::Denied);
    let renamed = |meta: &mut RoomMeta| meta.name = "Mine".into();
    let update = rooms.update(&room("R"), by(&moderator, Action::Update), None, renamed).await.unwrap();
    assert_eq!(update, UpdateOutcome::Refused(ModerationOutcome::Denied));
    assert!(matches!(rooms.update(&room("R"), Caller::Operator, None, renamed).await.unwrap(), UpdateOutcome::Done(_)));
    // A moderator is no stand-in for the host that the call does not have.
    let lock = |meta: &mut RoomMeta| meta.locked = true;
    assert!(matches!(
        rooms.update(&room("R"), by(&moderator, Action::Lock), None, lock).await.unwrap(),
        UpdateOutcome::Done(_)
    ));
    // A host by the backend may do it all. Once that host is gone, the next one stands in.
    set_role(&rooms, 1, Role::Host).await;
    assert_eq!(run(by(&first, Action::SetRole), promote.clone()).await, ModerationOutcome::Done(Vec::new()));
    rooms.leave(&first, "left").await.unwrap();
    assert_eq!(host(&rooms).await, user(2), "a moderator comes before the participants");
    let demote = ModerationCommand::Role { peer: peer(3), role: Role::Participant };
    assert_eq!(run(by(&moderator, Action::SetRole), demote).await, ModerationOutcome::Done(Vec::new()));
    assert_eq!(run(by(&moderator, Action::SetRole), promote).await, ModerationOutcome::Done(Vec::new()));
    assert_eq!(rooms.end_as_host(&moderator, "ended").await.unwrap(), Ended::StandIn);
    let shrunk = |meta: &mut RoomMeta| meta.max_participants = 2;
    let update = rooms.update(&room("R"), by(&moderator, Action::Update), None, shrunk).await.unwrap();
    assert_eq!(update, UpdateOutcome::Refused(ModerationOutcome::StandIn));
    // The host is back, and the moderator has the role that the token gave.
    let back = Join { pid: "back".into(), meta_version: 3, role: Role::Host, given: Some(Role::Host), ..join("R", 1) };
    let snapshot = seated(rooms.join(back).await.unwrap()).snapshot;
    let role = |n| snapshot.seats.iter().find(|seat| seat.user_id == user(n)).unwrap().role;
    assert_eq!((snapshot.host.clone(), role(1), role(2)), (user(1), Role::Host, Role::Moderator));
}

/// Returns the grant of a user token that says that the user hosts.
fn host_grant() -> Option<TokenGrant> {
    Some(TokenGrant { issued_ms: 0, role: Role::Host, permissions: CallPermissions::default() })
}

pub(crate) async fn a_host_by_the_backend_hands_on_or_ends_the_call_and_comes_back_as_host(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &RoomMeta { host: UserId::nobody(), ..meta(20) }).await.unwrap();
    sit(&rooms, "R", 2).await;
    // By the token: `join` makes the user host.
    let by_token = Join { role: Role::Host, grant: host_grant(), given: None, ..join("R", 1) };
    let first = seated(rooms.join(by_token).await.unwrap()).seat;
    assert_eq!(host(&rooms).await, user(1));
    rooms.leave(&first, "left").await.unwrap();
    assert_eq!(host(&rooms).await, user(2), "the other stands in");
    let back = Join { role: Role::Host, grant: host_grant(), given: None, pid: "b".into(), ..join("R", 1) };
    let first = seated(rooms.join(back).await.unwrap()).seat;
    assert_eq!(host(&rooms).await, user(1), "the stand-in gives the role back");
    // A name of their own takes nothing from hosts by their tokens.
    for stored_at in [None, Some(Timestamp(1_000))] {
        let update = ProfileUpdate { name: Some("Ann".into()), stored_at, ..ProfileUpdate::default() };
        rooms.change_profile(&room("R"), &user(1), &update).await.unwrap();
    }
    let roles = async || {
        let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
        let mut roles: Vec<_> = snapshot.seats.into_iter().map(|seat| (seat.user_id, seat.role)).collect();
        roles.sort();
        roles
    };
    assert_eq!(roles().await, [(user(1), Role::Host), (user(2), Role::Participant)]);
    // The right to host goes to another participant with the host, and outlasts a return.
    let caller = Caller::Seat { seat: &first, action: Action::TransferHost };
    let handed = rooms.update(&room("R"), caller, Some(&peer(2)), |_| {}).await.unwrap();
    assert!(matches!(handed, UpdateOutcome::Done(_)), "{handed:?}");
    assert_eq!(roles().await, [(user(1), Role::Moderator), (user(2), Role::Host)]);
    assert_eq!(rooms.end_as_host(&first, "ended").await.unwrap(), Ended::Denied);
    let (_, standing) = rooms.peek_for(&room("R"), &user(1), &Proof::default()).await.unwrap();
    assert_eq!(standing.given, Some(Role::Moderator), "which comes before the token");
    let second = Join { pid: "c".into(), old_pid: Some("pid-2".into()), given: Some(Role::Host), ..join("R", 2) };
    let meta_version = 2;
    let second = seated(rooms.join(Join { meta_version, role: Role::Host, ..second }).await.unwrap()).seat;
    assert_eq!(rooms.end_as_host(&second, "ended").await.unwrap(), Ended::Done);
}

/// Returns the participants and their roles, without the lobby.
async fn roles(rooms: &Rooms) -> Vec<(UserId, Role)> {
    let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
    let seats = snapshot.seats.into_iter().filter(|seat| seat.connection_state != ConnectionState::Waiting);
    let mut roles: Vec<_> = seats.map(|seat| (seat.user_id, seat.role)).collect();
    roles.sort();
    roles
}

pub(crate) async fn the_owner_of_a_call_stays_host_beside_hosts_by_token_and_by_the_backend(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    // The owner's token names no role: host by owning the call.
    let owner = seated(rooms.join(Join { role: Role::Host, ..join("R", 0) }).await.unwrap()).seat;
    let by_token = Join { role: Role::Host, grant: host_grant(), given: None, ..join("R", 2) };
    let host = seated(rooms.join(by_token).await.unwrap()).seat;
    assert_eq!(roles(&rooms).await, [(user(0), Role::Host), (user(2), Role::Host)]);
    sit(&rooms, "R", 3).await;
    set_role(&rooms, 3, Role::Host).await;
    let hosts = [(user(0), Role::Host), (user(2), Role::Host), (user(3), Role::Host)];
    assert_eq!(roles(&rooms).await, hosts);
    rooms.leave(&host, "left").await.unwrap();
    assert_eq!(roles(&rooms).await, [(user(0), Role::Host), (user(3), Role::Host)]);
    assert_eq!(rooms.end_as_host(&owner, "ended").await.unwrap(), Ended::Done);
}

pub(crate) async fn a_host_by_token_who_waits_for_a_seat_becomes_host_with_it(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let owner = seated(rooms.join(Join { role: Role::Host, ..join("R", 0) }).await.unwrap()).seat;
    sit(&rooms, "R", 1).await;
    rooms.leave(&owner, "left").await.unwrap();
    assert_eq!(roles(&rooms).await, [(user(1), Role::Host)], "who stands in");
    let by_token = Join { role: Role::Host, grant: host_grant(), given: None, ..waits(2) };
    waiting(rooms.join(by_token).await.unwrap());
    assert_eq!((roles(&rooms).await, host(&rooms).await), (vec![(user(1), Role::Host)], user(1)));
    rooms.moderate(&room("R"), Caller::Operator, &ModerationCommand::Admit(None)).await.unwrap();
    assert_eq!(roles(&rooms).await, [(user(1), Role::Participant), (user(2), Role::Host)]);
    assert_eq!(host(&rooms).await, user(2));
}

pub(crate) async fn several_hosts_by_the_backend_keep_the_role_until_the_backend_takes_it(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let by_token = |n| Join { role: Role::Host, grant: host_grant(), given: None, ..join("R", n) };
    let _owner = seated(rooms.join(Join { given: Some(Role::Host), ..by_token(0) }).await.unwrap()).seat;
    let _ann = seated(rooms.join(by_token(2)).await.unwrap()).seat;
    assert_eq!(roles(&rooms).await, [(user(0), Role::Host), (user(2), Role::Host)], "the owner stays host");

    // Without a host's token, a host who was removed is none.
    let kick = ModerationCommand::Kick { peer: peer(2), ban: false, reason: None };
    let kicked = rooms.moderate(&room("R"), Caller::Operator, &kick).await.unwrap();
    assert_eq!(kicked, ModerationOutcome::Done(Vec::new()));
    let (_, standing) = rooms.peek_for(&room("R"), &user(2), &Proof::default()).await.unwrap();
    assert_eq!(standing.given, None);

    // Nor is one who left, and comes back with a participant's token.
    let left = seated(rooms.join(by_token(4)).await.unwrap()).seat;
    rooms.leave(&left, "left").await.unwrap();
    sit(&rooms, "R", 4).await;
    assert_eq!(roles(&rooms).await, [(user(0), Role::Host), (user(4), Role::Participant)]);

    // A role that the backend assigned comes before a host's token, at each return.
    sit(&rooms, "R", 3).await;
    let assign = ModerationCommand::Role { peer: peer(3), role: Role::Moderator };
    rooms.moderate(&room("R"), Caller::Operator, &assign).await.unwrap();
    let back = Join { role: Role::Moderator, grant: host_grant(), given: Some(Role::Moderator), ..join("R", 3) };
    let mut old_pid = back.pid.clone();
    for pid in ["a", "b"] {
        let back = Join { pid: pid.into(), old_pid: Some(old_pid), ..back.clone() };
        let snapshot = seated(rooms.join(back).await.unwrap()).snapshot;
        let role = snapshot.seats.iter().find(|seat| seat.user_id == user(3)).unwrap().role;
        assert_eq!(role, Role::Moderator);
        old_pid = pid.into();
    }
}
