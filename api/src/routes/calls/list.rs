//! Lists the user's calls, page by page.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use switchboard_core::domain::{CallStatus, CallType, Timestamp};
use switchboard_records::{CallFilter, CallOrder, CallPosition, CallsOf, PageStart};

use crate::app::App;
use crate::http::envelope::{Pagination, page};
use crate::http::error::ApiResult;
use crate::http::extract::{CallOwner, ValidQuery};
use crate::http::fields::{Fields, Input};
use crate::http::paging::Paging;
use crate::routes::views::CallView;

const STATUSES: [(&str, CallStatus); 5] = [
    ("scheduled", CallStatus::Scheduled),
    ("waiting", CallStatus::Waiting),
    ("live", CallStatus::Live),
    ("ended", CallStatus::Ended),
    ("cancelled", CallStatus::Cancelled),
];
const ORDERS: [(&str, CallOrder); 4] = [
    ("createdAt", CallOrder::Created),
    ("scheduledAt", CallOrder::Scheduled),
    ("startedAt", CallOrder::Started),
    ("title", CallOrder::Title),
];

/// What each parameter means at its edges.
const EDGES: [(&str, &str); 9] = [
    ("page", "From 1. A page is a number of entries, so it shifts when calls are added; `after` does not."),
    ("after", "`pagination.next` of the page before, with the same `sort` and `order`; not with `page`."),
    ("status", "Exactly this status."),
    ("type", "Exactly this type."),
    ("search", "Text in the title or the description, without regard to case. Empty text selects every call."),
    ("startDate", "Calls created at this time or later. A day means its first millisecond, UTC."),
    ("endDate", "Calls created at this time or earlier. A day is included: it means its last millisecond, UTC."),
    (
        "sort",
        "`title` sorts as people do: letters beside their capitals, numbers by value. Without a date, a call comes before all dates.",
    ),
    ("order", "Calls with the same value are ordered by their ids, in the same direction."),
];

/// Query of `GET video-calls`.
pub(crate) struct Listing {
    paging: Paging,
    after: Option<CallPosition>,
    status: Option<CallStatus>,
    call_type: Option<CallType>,
    search: Option<String>,
    created: (Option<Timestamp>, Option<Timestamp>),
    order: (CallOrder, bool),
}

impl Input for Listing {
    fn read(fields: &mut Fields) -> Self {
        let has_page = fields.has("page");
        let order = (
            fields.choice("sort", &ORDERS).unwrap_or(CallOrder::Created),
            fields.choice("order", &[("asc", false), ("desc", true)]).unwrap_or(true),
        );
        let listing = Self {
            paging: Paging::read(fields, 10),
            after: fields.cursor("after", |text| CallPosition::decode(text, order)),
            status: fields.choice("status", &STATUSES),
            call_type: fields.choice("type", &CallType::NAMES),
            search: fields.optional_line("search", 0..=100).filter(|text| !text.is_empty()),
            created: (fields.date("startDate"), fields.end_date("endDate")),
            order,
        };
        if has_page && listing.after.is_some() {
            fields.reject("page", "must not be given with after");
        }
        for (field, sentence) in EDGES {
            fields.explain(field, sentence);
        }
        listing
    }
}

/// `GET video-calls`: lists the calls that the caller hosts or takes part in.
pub(crate) async fn list(
    State(app): State<App>,
    CallOwner(caller): CallOwner,
    ValidQuery(listing): ValidQuery<Listing>,
) -> ApiResult<Response> {
    list_calls(&app, CallsOf::User(caller.app, caller.user.id), listing).await
}

/// Lists calls, page by page.
pub(crate) async fn list_calls(app: &App, of: CallsOf, listing: Listing) -> ApiResult<Response> {
    let filter = CallFilter {
        of,
        status: listing.status,
        call_type: listing.call_type,
        search: listing.search,
        created: listing.created,
        order: listing.order,
        start: listing.after.map_or_else(|| PageStart::Skip(listing.paging.skip()), PageStart::After),
        limit: listing.paging.limit,
    };
    let found = app.records.list_calls(&filter).await?;
    let views: Vec<_> = found.calls.iter().map(|call| CallView::in_list(app, call)).collect();
    let next = found.next.map(|position| position.encode());
    Ok(page("Calls", views, Pagination { next, ..listing.paging.of(found.total) }).into_response())
}
