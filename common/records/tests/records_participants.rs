//! Participants of calls on a real MongoDB.
#![allow(clippy::unwrap_used)]

use devcluster::mongo::Mongo;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use mongodb::{Client, Collection, Database};
use switchboard_core::domain::{AppId, CallId, CallStatus, PeerId, Role, RoomId, Timestamp, UserId};
use switchboard_records::{
    CallChange, CallFact, CallFilter, CallOrder, CallRecord, CallsOf, PageStart, ParticipantCounts, Records,
    RecordsTimeouts, Stay,
};

/// Most guests with a document in one call, and most participants that a record shows.
const GUESTS_MAX: usize = 5_000;
const SHOWN_MAX: usize = 100;
const BATCH: usize = 500;

/// Call of user 0 in a database of one test.
struct Bed {
    _mongo: Mongo,
    records: Records,
    database: Database,
    call: CallId,
}

impl Bed {
    async fn start(more: Document) -> Self {
        let mongo = Mongo::start().await.unwrap();
        let uri = mongo.uri("participants");
        let records = Records::connect(&uri, RecordsTimeouts::default()).await.unwrap();
        records.ensure_indexes().await.unwrap();
        let database = Client::with_uri_str(&uri).await.unwrap().database("participants");
        let id = ObjectId::new();
        let mut call = doc! {
            "_id": id, "hostId": object(0), "title": "Call", "roomId": "R", "status": "waiting",
            "createdAt": DateTime::from_millis(1), "revision": 1_i64,
        };
        call.extend(more);
        database.collection::<Document>("videocalls").insert_one(call).await.unwrap();
        Self { _mongo: mongo, records, database, call: CallId::parse(&id.to_hex()).unwrap() }
    }

    fn fact(&self, number: usize, change: CallChange) -> CallFact {
        let at = i64::try_from(number).unwrap();
        CallFact {
            event_id: format!("0:{number}"),
            order: format!("{at:015}-{:020}", 0),
            at: Timestamp(at),
            call: self.call.clone(),
            room: RoomId::parse("R").unwrap(),
            change,
        }
    }

    fn joined(&self, number: usize, user: &str) -> CallFact {
        let (who, role) = (stay(user), if user.starts_with("guest-") { Role::Guest } else { Role::Participant });
        self.fact(number, CallChange::Joined { who, name: "$name".to_owned(), role, count: 1, first: false })
    }

    fn left(&self, number: usize, user: &str) -> CallFact {
        self.fact(number, CallChange::Left { who: stay(user), reason: "left".to_owned(), count: 0 })
    }

    async fn write(&self, facts: &[CallFact]) {
        for batch in facts.chunks(BATCH) {
            assert_eq!(self.records.write_facts(batch).await.unwrap(), []);
        }
    }

    async fn record(&self) -> CallRecord {
        self.records.call(&AppId::default(), &self.call).await.unwrap().unwrap()
    }

    async fn is_involved(&self, user: &str) -> bool {
        self.records.involves(&self.record().await, &id(user)).await.unwrap()
    }

    fn participants(&self) -> Collection<Document> {
        self.database.collection("participants")
    }
}

fn object(number: usize) -> ObjectId {
    ObjectId::parse_str(user(number)).unwrap()
}

fn user(number: usize) -> String {
    format!("{number:024x}")
}

fn guest(number: usize) -> String {
    format!("guest-{number:016x}")
}

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

fn stay(user: &str) -> Stay {
    Stay { user: id(user), peer: PeerId::parse(user).unwrap(), join: format!("{user}-0") }
}

fn filter(user: &str) -> CallFilter {
    CallFilter {
        of: CallsOf::User(AppId::default(), id(user)),
        status: None,
        call_type: None,
        search: None,
        created: (None, None),
        order: (CallOrder::Created, true),
        start: PageStart::Skip(0),
        limit: 10,
    }
}

#[tokio::test]
async fn a_flood_of_guests_displaces_no_user_and_each_request_reads_a_bounded_number_of_documents() {
    let bed = Bed::start(doc! { "counts": {} }).await;
    let mut facts = Vec::new();
    for number in 0..GUESTS_MAX + BATCH {
        facts.push(bed.joined(facts.len() + 1, &guest(number)));
        facts.push(bed.left(facts.len() + 1, &guest(number)));
    }
    bed.write(&facts).await;
    let late = facts.len() + 1;
    let more = [bed.joined(late, &guest(900_000)), bed.joined(late + 1, &user(7)), bed.joined(late + 2, &guest(3))];
    bed.write(&more).await;

    assert!(bed.is_involved(&user(7)).await, "a user is listed after any number of guests");
    assert!(bed.is_involved(&guest(3)).await && !bed.is_involved(&guest(900_000)).await);
    assert_eq!(bed.records.list_calls(&filter(&user(7))).await.unwrap().total, 1);
    assert!(
        bed.records.chat_page((&AppId::default(), &bed.call), &id(&user(7)), 0, 10).await.unwrap().unwrap().involved
    );
    let counts = bed.record().await.counts.unwrap();
    assert_eq!(counts.users, 1);
    assert_eq!(counts.guests + counts.unlisted, u64::try_from(GUESTS_MAX + BATCH + 1).unwrap(), "every guest counts");
    let stored = bed.participants().count_documents(doc! {}).await.unwrap();
    assert_eq!(stored, counts.users + counts.guests);
    assert!(stored <= u64::try_from(GUESTS_MAX + BATCH).unwrap(), "{stored} documents");
    let document: Vec<u8> = bed
        .database
        .collection::<Document>("videocalls")
        .find_one(doc! {})
        .await
        .unwrap()
        .map(|call| call.to_vec().unwrap())
        .unwrap();
    assert!(document.len() < 2_000, "the record does not grow: {} bytes", document.len());

    bed.database.run_command(doc! { "profile": 2 }).await.unwrap();
    let mut call = bed.record().await;
    assert_eq!(call.participants.len(), SHOWN_MAX);
    bed.records.show_participants(&mut call, 50, 20).await.unwrap();
    assert_eq!(call.participants.len(), 20);
    assert_eq!(call.participants[0].user.as_str(), guest(50));
    assert_eq!(call.profile(&id(&guest(50))).name, "$name");
    bed.database.run_command(doc! { "profile": 0 }).await.unwrap();
    let profile = bed.database.collection::<Document>("system.profile");
    let scans = doc! { "$or": [{ "docsExamined": { "$gt": 300 } }, { "planSummary": { "$regex": "COLLSCAN" } }] };
    let scan =
        profile.find_one(doc! { "$and": [{ "ns": { "$regex": "\\.(videocalls|participants|users)$" } }, scans] });
    assert_eq!(scan.await.unwrap(), None);
}

#[tokio::test]
async fn counts_are_exact_although_batches_are_cut_repeated_and_written_by_two_recorders() {
    let bed = Bed::start(doc! { "counts": {} }).await;
    let mut facts = Vec::new();
    for round in 0..3 {
        for number in 0..10 {
            for who in [user(number), guest(number + round)] {
                facts.push(bed.joined(facts.len() + 1, &who));
                facts.push(bed.left(facts.len() + 1, &who));
            }
        }
    }
    for end in (0..=facts.len()).step_by(7) {
        // The first recorder dies, or loses its lease and continues for a while.
        let (one, two) = (bed.records.write_facts(&facts[..end]), bed.records.write_facts(&facts[end / 2..end]));
        tokio::pin!(one);
        let cut = tokio::time::timeout(std::time::Duration::from_millis(2), &mut one).await;
        if cut.is_ok() || end % 2 == 0 {
            drop(two);
            continue;
        }
        let (one, two) = tokio::join!(one, bed.records.write_facts(&facts[..end]));
        for done in [one, two] {
            // Two recorders that create a document at the same time: one of them repeats its batch.
            assert!(done.is_err() || done.unwrap().is_empty());
        }
    }
    bed.write(&facts).await;
    let call = bed.record().await;
    assert_eq!(call.counts, Some(ParticipantCounts { users: 10, guests: 12, unlisted: 0 }));
    assert_eq!((call.listed(), call.present, call.status), (22, 0, CallStatus::Live));
    assert!(call.participants.iter().all(|entry| !entry.is_connected && entry.left_at > entry.joined_at));
    assert!(call.participants.is_sorted_by_key(|entry| entry.joined_at));
    // Each stay took 1 ms; ten users had three of them.
    assert!(call.participants.iter().filter(|entry| entry.connected_ms(Timestamp(9_999)) == 3).count() >= 10);
}

#[tokio::test]
async fn the_list_of_an_earlier_version_authorizes_and_moves_with_the_first_fact() {
    let entry = |number: usize, at: i64, connected: bool| {
        doc! {
            "userId": object(number), "role": "participant", "joinedAt": DateTime::from_millis(at), "isConnected": connected,
            "presence": { "open": if connected { vec![format!("{}-0", user(number))] } else { vec![] },
                "since": connected.then(|| DateTime::from_millis(at)), "connectedMs": 7_i64 },
        }
    };
    let host = doc! { "userId": object(0).to_hex(), "role": "host", "isConnected": false, "_id": ObjectId::new() };
    let list = vec![host, entry(1, 5, false), entry(2, 6, true)];
    let more = doc! { "participants": list, "status": "live", "startedAt": DateTime::from_millis(5), "lastFact": format!("{:015}-{:020}", 6, 0) };
    let bed = Bed::start(more).await;
    let check = async |moved: bool| {
        let call = bed.record().await;
        // In the list, the host has an entry before the first join.
        assert_eq!((call.listed(), call.participants.len()), if moved { (2, 2) } else { (3, 3) });
        assert_eq!(call.statistics(Timestamp(9)).participants, 2);
        for (number, involved) in [(0, true), (1, true), (2, true), (3, false)] {
            assert_eq!(bed.is_involved(&user(number)).await, involved, "{number}");
            let total = bed.records.list_calls(&filter(&user(number))).await.unwrap().total;
            assert_eq!(total, u64::from(involved), "{number}");
            let page = bed
                .records
                .chat_page((&AppId::default(), &bed.call), &id(&user(number)), 0, 10)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(page.involved, involved, "{number}");
            let statistics = bed.records.account_statistics(&id(&user(number)), Timestamp(0)).await.unwrap();
            assert_eq!(statistics.calls, u64::from(involved), "{number}");
        }
        let mut page = call.clone();
        bed.records.show_participants(&mut page, 1, 1).await.unwrap();
        assert_eq!(page.participants[0].user.as_str(), user(if moved { 2 } else { 1 }));
    };
    check(false).await;
    // A fact that the list has already moves it, and changes nothing else.
    for _ in 0..2 {
        bed.write(&[bed.joined(6, &user(2))]).await;
        check(true).await;
    }
    bed.write(&[bed.left(10, &user(2)), bed.joined(12, &user(1))]).await;
    let call = bed.record().await;
    let find = |number: usize| call.participants.iter().find(|entry| entry.user.as_str() == user(number)).unwrap();
    assert_eq!((find(2).connected_ms(Timestamp(99)), find(2).left_at), (7 + 4, Some(Timestamp(10))));
    assert_eq!((find(1).joined_at, find(1).connected_ms(Timestamp(14))), (Some(Timestamp(5)), 7 + 2));
    assert_eq!(call.counts, Some(ParticipantCounts { users: 2, guests: 0, unlisted: 0 }));
    let stored = bed.database.collection::<Document>("videocalls").find_one(doc! {}).await.unwrap().unwrap();
    assert!(!stored.contains_key("participants"));
}
