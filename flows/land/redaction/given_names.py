"""Names that are hardly ever anything else in a sentence, folded to lower case without accents.

The given names are the most frequent of the United States census of 1990 (public domain) without those that are also
ordinary words, months, places, makes or models of cars ("will", "may", "austin", "leon"). Added by hand: common
names of Sweden and of other countries whose people call British and Swedish companies, and common surnames.
"""

from flows.land.redaction.folding import words

NAMES = words("""
aaron aarti abbie abby abdul abdullah abel abigail abraham ada adam adan addie adela adelaide adele adeline aditya
adolfo adolph adrian adriana adrianne adrienne agnes agnieszka agustin ahmed aida aileen aimee aisha ajay akash akira
alan alana alba albert alberta alberto aldo alejandra alejandro alessandro alex alexander alexandra alexandria alexis
alfonso alfred alfreda alfredo ali alice alicia alisa alisha alison alissa allan allen allene allie allison allyson
alma alonzo alphonse alphonso alta althea alton alva alvaro alvin alyce alyson alyssa amalia amanda amelia amie amina
amit amos amparo amy ana anand ananya anastasia anders anderson andersson andre andrea andres andrew andy anette
angela angelia angelica angelina angeline angelique angelita angelo angie anil anish anita anja anjali ankit ann anna
annabelle anne anneli annette annie annika annmarie anthony antionette antoine antoinette anton antonia antonio antony
araceli archie ariel arjun arleen arlene arline armand armando arne arnold arnulfo arron arthur arturo arun arvidsson
asha ashlee ashleigh ashley ashok asif astrid aubrey audra audrey augusta augustine aurelia aurelio ava avery avis
axel axelsson balaji barbara barbra barney barry bart beatrice beatriz beau becky begum belinda belle ben bengt
bengtsson benita benito benjamin bennett bennie benny berglund bergman bergqvist bergstrom berit bernadette bernadine
bernard bernardo bernice bernie bert berta bertha bertie beryl bess bessie beth bethany betsy bette bettie betty
bettye beulah beverley beverly bianca bilal billie billy birdie birger birgitta bjork bjorn blaine blair blake blanca
bob bobbi bobbie bobby bonnie borje boyd brad bradley brady brain branden brandi brandie brandon brandy brenda brendan
brent bret brett brian briana brianna brianne bridget bridgett bridgette brigitte britney britt brittany brittney
brock brooke brooks bruce bruno bryan bryant bryce bryon buford burton byron caitlin caleb callie calvin cameron
camilla camille campbell candace candice cara carey cari carissa carl carla carlene carlo carlos carly carmela
carmella carmelo carmen carmine carol carole caroline carolyn carrie carroll carson carter caryn casandra casey
cassandra cassie catalina catherine cathleen cathryn cathy catrina cecelia cecil cecile cecilia cedric celeste celia
celina cesar chadwick chandra charlene charles charley charlie charlotte charmaine chasity chelsey cheri cherie cheryl
chiara chloe chopra chris christa christi christian christie christina christine christopher christy chrystal chung
cindi cindy clair claire clara clare clarence clarice clarissa clark clarke claude claudette claudia claudine clayton
clement cleo clifford clifton clint clinton clyde colby coleen colette colin colleen collin collins concepcion
concetta connie conrad consuelo cora corey corina corine corinne cornelia cornelius cornell corrine cortney cory
courtney craig cristina curt curtis cynthia cyril cyrus dalton damian damien damon dan dana dane danette danial daniel
danielle danielsson danna danny dante daphne darcy daren darin darius darla darlene darnell darrel darrell darren
darrin darryl darwin daryl dave david davies davis dayna deana deann deanna deanne debbie debby debora deborah debra
deena deepa deepak deidra deidre deirdre delbert delia delilah della delma delmar delores deloris delphine demetria
demetrius dena denice denis denise dennis denny deon derek derick derrick desiree desmond dessie devin devon dewayne
dewey dexter diana diane diann dianna dianne diaz diego dieter dina dinesh dion dionne dirk divya dixie dmitri dollie
dolly dolores domingo dominic dominick dominique don dona donald donna donnell donnie donny donovan dora doreen
doretha dorian doris dorothea dorothy dorthy dottie doug douglas doyle duane dudley duncan dustin dwayne dwight dylan
earl earlene earline earnestine ebba eddie eddy edgar edith edmond edmund edna eduardo edward edwardo edwards edwin
edwina edythe effie efrain eileen elaine elba elbert elda eldon eleanor eleanore elena eli elia elias elida elijah
elin elinor elisa elisabeth elisha eliza elizabeth ella ellen elliot elliott elma elmer elnora eloise elsa elsie elton
elva elvia elvin elvira elvis elwood emanuel emerson emery emil emilia emilie emilio emily emma emmanuel emmett emory
engstrom enid enrique eric erica erich erick ericka erik erika eriksson erin erma erna ernest ernestina ernestine
ernesto ernie errol ervin erwin esmeralda esperanza essie esteban estela estella estelle esther ethan ethel etta
eugene eugenia eugenio eula eunice eva evan evangelina evangeline evans evelyn everett ezra fabian faisal fannie
fatima fay faye federico felecia felipe felix ferdinand fernando fidel filip fletcher flores florine flossie floyd
folke forrest forsberg fran frances francesca francine francis francisca francisco francois frankie franklin fransson
fred freda freddie freddy frederic frederick fredrick fredrik fredriksson freeman freida frida frieda gabriel gabriela
gabrielle gail galen ganesh garcia garland garrett garry garth gary gavin gayla gayle geetha gena genaro genevieve
geoffrey george georgette georgina gerald geraldine gerard gerardo geri germaine gerry gertrude gibson gilbert
gilberto gilda gina giovanni girish gita giuseppe gladys glen glenda glenn glenna gloria goldie gomez gonzalez gonzalo
gopal goran gordon gracie graciela grady graham greg gregg gregorio gregory greta gretchen griselda grover guadalupe
gudrun guillermo gunilla gunnar gunnarsson gupta gus gussie gustafsson gustav gustavo gutierrez gwen gwendolyn hakan
hakansson haley hallie hamza hanna hannah hans hansson hari harish harlan harold harriet harriett harris harrison
harry haruto harvey hassan hattie hector hedvig heidi heike heinrich helen helena helene helga henrietta henrik
henriksson henry herbert heriberto herman herminia hernandez herschel hester hilary hilda hillary hiram hiroshi hollie
hollis holmberg horace hortencia howard hubert hugh hughes hugo humberto hussain hussein ian ibrahim ida ignacio ila
ilene imelda imogene imran inez ingemar inger ingo ingrid iola ira irene irma irvin irving irwin isaac isabel isabella
isabelle isaiah isaksson ishita isidro ismael issac iva ivan ivana iyer jack jackie jacklyn jackson jaclyn jacob
jacqueline jacquelyn jacques jacquline jaime jake jamal jame jamel james jamey jami jamie jana jane janell janelle
janet janette janice janie janine janis janna jannie jansson jaqueline jared jarrett jarrod jarvis jasmin jasmine
jason jasper javier jayne jayson jeanette jeanie jeanine jeanna jeanne jeannette jeannie jeannine jeff jefferson
jeffery jeffrey jeffry jena jenifer jenna jennie jennifer jenny jerald jeremiah jeremy jeri jermaine jerome jerri
jerry jesper jess jesse jessica jessie jewell jiho jill jillian jim jimmie jimmy joan joann joanna joanne joaquin
jocelyn jodi jodie jody joe joel joesph joey johan johanna johansson john johnathan johnathon johnie johnnie johnny
johnson jolene jon jonas jonathan jonathon jones joni jonsson jorge jorgen jose josefa josefin josefina joseph
josephine josh joshua josie josue joyce juan juana juanita judi judith judy julia julian juliana julianne julie juliet
juliette julio julius jurgen justin justina justine jyoti kaitlin kaitlyn kapoor kara karen kari karin karina karl
karla karlsson karthik karyn kasey katarina katarzyna kate katelyn katharine katherine katheryn kathi kathie kathleen
kathrine kathryn kathy katie katina katrin katrina katy kaur kavita kavitha kay kaye kayla keisha keith kelley kelli
kellie kelly kelsey kelvin ken kendall kendra kendrick kenji kenneth kennith kenny keri kermit kerri kerry kerstin
kevin khadija khalid khan kim kimberlee kimberley kimberly kiran kirby kirk kirsten kishore kitty kjell klara klaus
kris krishna krista kristen kristi kristie kristin kristina kristine kristopher kristy krystal krystle krzysztof kumar
kurt kurtis kyle lacey lacy ladonna lakeisha lakesha lakisha lakshmi lalita lamar lamont lana landon lara larry lars
larsson lashonda latanya latasha latha latisha latonya latoya latrice laura lauren laurence laurent lauri laurie
lavern laverne lavonne lawanda lawrence layla lazaro lea leah leann leanna leanne leeann leif leigh leila lela leland
lelia lena lennart lenora lenore leo leola leona leonard leonardo leonel leonor leroy lesa lesley leslie lessie lester
leta letha leticia letitia levi lewis libby lidia lila lilia lilian liliana lillian lillie lilly lily lina linda
lindberg lindgren lindsay lindsey lindstrom linh linnea linus linwood lionel lisa liz liza lizzie lloyd lofgren logan
lois lola lolita lon lonnie lopez lora loraine loren lorena lorene lorenzo loretta lori lorie lorna lorraine lorrie
lottie louella louie louis louisa louise lovisa lowell loyd luann luca lucas lucia luciano lucien lucile lucille
lucinda lucy ludvig luella luis luisa luke lula lundberg lundgren lundin lupe luther luz lydia lyle lynda lynette lynn
lynne lynnette mabel mable madeleine madeline madelyn madge mae magdalena maggie magnus mahesh mahmoud maja malcolm
malgorzata malhotra malin malinda mallory mamie manoj manuel manuela mara marc marcel marcelino marcella marci marcia
marcie marco marcos marcus marcy margaret margareta margery margie margo margot margret marguerite mari maria marian
mariana marianne mariano maribel maricela marie marietta marilyn mario marion marisa marisol marissa maritza marjorie
marla marlene marlon marquita marsha marshall marta martha martin martina martinez marty marva marvin mary maryam
maryann maryanne marybeth maryellen maryjane marylou mathew mathieu matilda mats matt matteo matthew mattias mattie
mattsson maude maudie maura maureen maurice mauricio maurine mavis maxine maxwell maynard mayra mcdonald meagan meena
megan meghan mehta melanie melba melinda melisa melissa melker mellisa melva melvin menon meredith merle merlin
merrill mervin mia micah michael michaela micheal michel michele michell michelle miguel mikael mike milagros mildred
millard millicent millie milton mindy minerva ming minh minjun minnie miranda miriam mishra mitchel mitchell mitzi
mohammad mohammed mohan moises mollie molly mona monica monika monique monroe monty morales morton moses muhammad
mukesh muriel murphy murray murugan mustafa muthu myles myra myrna myron nadia nadine nair nancy nandini nanette
nannie naomi naresh natalia natalie natasha nathan nathaniel naveen neal neha neil nelda nell nellie nelson nestor
nettie neva nguyen nicholas nichole nick nickolas nicolas nicole nikhil nikki niklas nilda nils nilsson nina nisha
nita noah noel noelle noemi nola nolan nona nora norbert noreen norma norman norris nyberg nystrom obrien oconnor
octavio odell odessa ofelia olga oliver olivia ollie olof olsson omar ophelia ortiz orville oscar oskar otis owen
pablo padma paige pallavi pam pamala pamela pasquale patel patrica patrice patricia patrick patrik patsy patterson
patti patty paul paula paulette pauline pawel pearlie pedro peggy penelope percy perez pernilla perry persson pete
peter petra pettersson phil philip phillip phillips phoebe phyllis pierre piotr polly pooja pradeep prakash prasad
praveen preeti priscilla priya quentin quincy quinton rachael rachel rachelle radha rae rafael ragnar rahul raj raja
rajesh ralph ramesh ramirez ramiro ramon ramona randal randall randell randi randolph randy rao raphael raquel rasmus
raul ravi raymond raymundo reba rebeca rebecca rebekah reddy refugio reggie regina reginald reid rekha rena renae rene
renee retha reuben reva revathi rex reyes reyna reynaldo rhea rhoda rhonda ricardo richard richardson rick rickey
rickie ricky rigoberto riley rita ritu rivera robbie robby robert roberta roberto roberts robinson robyn rocco
rochelle rocio roderick rodger rodney rodolfo rodrigo rodriguez rogelio roger rohit roland rolando rolf romeo ron
ronald ronda ronnie ronny roosevelt rory rosa rosalee rosalia rosalie rosalind rosalinda rosalyn rosanna rosanne
rosario roscoe roseann rosella rosemarie rosemary rosetta rosie roslyn ross rowena roxanne roxie roy ruben rudolph
rudy rufus russ russel russell ruth ruthie ryan sabine sabrina sadie sakura sallie sally salman salvador salvatore sam
samantha samira sammie sammy samuel samuelsson sanchez sandberg sandeep sandra sanford sangeeta sanjay santos sara
sarah saraswati sasha sathish satish saul saundra savannah scot scott scottie scotty sean sebastian selena selina
selma selvam senthil serena sergei sergio seth seymour shah shana shane shanna shannon shanti shari sharlene sharma
sharon sharron shaun shauna shawn shawna sheena sheila sheldon shelia shelley shelly shelton sheree sheri sherman
sherri sherrie sheryl shirley shiva shonda shreya sidney silas simon simone simpson singh sita siva sixten sjoberg
smith sneha socorro soderberg sofia solomon solveig sondra sonia sonja sonny sonya sophia sophie spencer srinivas
stacey staci stacie stacy stan stanley stefan stefanie stella stephan stephanie stephen steve steven stevie stewart
stig stuart sunil sunita suresh susan susana susanna susanne susie suzanne suzette svea sven svensson svetlana swathi
swati sybil sylvester sylvia tabatha tabitha tamara tameka tamera tami tamika tammi tammie tammy tamra tania tanisha
tanya tara tariq taryn tasha tatiana taylor ted teddy terence teresa teresita teri terrance terrell terrence terri
terrie terry tessa thad thaddeus thelma theo theodora theodore theresa therese theron thomas thompson thurman thuy
tiffany tillie tim timmy timothy tina tisha toby todd tom tomas tomasz tommie tommy toni tonia tony tonya torbjorn
torres torsten tove tracey traci tracie tracy travis trent trenton treva trevor tricia trina trisha tristan troy trudy
truman tuva tyler tyrone tyson ulf ulla ulrika ulrike ulysses ursula usha usman uwe valarie valentin valeria valerie
vance vanessa vaughn velma venkat vera verma vern verna vernon veronica vicente vicki vickie vicky victor victoria
vignesh vijay vikram viktor vilma vince vincent vinod viola virgie virgil virgina vishnu vito vivek vivian vonda
wallace wallin walter wanda warren watson wayne wei weldon wendell wendi wendy wesley whitney wikstrom wilbert wilbur
wilburn wilda wiley wilford wilfred wilfredo wilhelmina willa willard william williams willie wilma wilmer wilson
winfred winifred winnie winston wolfgang woodrow xavier xin yasmin yesenia yolanda youssef yuki yusuf yvette yvonne
zachary zachery zain zainab zane zelda zelma
""")  # fmt: skip
